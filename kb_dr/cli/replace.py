"""`kb-dr restore --replace`: the cluster of a running service, replaced in place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kb_dr.cli.opened import progress
from kb_dr.cli.output import print_json, print_table, say, size
from kb_dr.errors import ConfigurationError, RecoveryError

if TYPE_CHECKING:
    from pathlib import Path

    from kb_dr.domain.replacement import Replacement
    from kb_dr.installation import Installation
    from kb_dr.operations.plan_replacement import ReplacePlan
    from kb_dr.operations.plan_target import Wanted
    from kb_dr.operations.replace_postgres import Replaced

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Consent:
    """The words that allow, or forbid, to touch a running service."""

    replace: bool
    roll_back: bool
    force_production: bool
    confirm_service: str | None
    yes: bool


_OPTIONS = (
    click.option("--replace", is_flag=True, help="Replace the cluster that stands in DIR."),
    click.option(
        "--force-production", is_flag=True, help="With --replace: also where DIR is production."
    ),
    click.option(
        "--confirm-service",
        metavar="NAME",
        help="With --replace: the service's name, instead of typing it when asked.",
    ),
    click.option("--yes", is_flag=True, help="With --replace: do it; without, show the plan."),
    click.option(
        "--roll-back",
        is_flag=True,
        help="Bring the old cluster back after a replacement of DIR that was killed.",
    ),
)


def replace_options(command: F) -> F:
    """Add all of them, handed to the command as one ``consent``."""

    @wraps(command)
    def gathered(
        *,
        replace: bool,
        roll_back: bool,
        force_production: bool,
        confirm_service: str | None,
        yes: bool,
        **words: Any,
    ) -> Any:
        consent = Consent(replace, roll_back, force_production, confirm_service, yes)
        return command(consent=consent, **words)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click's commands are called by their words


def require_none(opened: Installation, target: Path, consent: Consent) -> None:
    """Refuse a restore into a new directory where a replacement was cut off, or its words."""
    if consent.force_production or consent.confirm_service is not None or consent.yes:
        raise ConfigurationError(
            "restore: --force-production, --confirm-service and --yes go with --replace",
            hint="A restore into a new directory asks nothing and replaces nothing.",
        )
    found = opened.unfinished_replacement(target)
    if found is not None:
        raise RecoveryError(f"restore into {target}: {_told(found)}", hint=_way_back(target))


def replace_in_place(
    opened: Installation,
    wanted: Wanted | None,
    copy: str | None,
    target: Path,
    consent: Consent,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Show the plan, ask, carry it out; ``wanted`` None only brings an old cluster back."""
    found = opened.unfinished_replacement(target)
    if found is not None:
        _repair(opened, target, found, consent, dry_run=dry_run, as_json=as_json)
    if wanted is None:
        if found is None:
            raise ConfigurationError(
                f"restore --roll-back: no replacement of {target} was cut off",
                hint="A replacement that succeeded is undone by hand; it printed how.",
            )
        return
    plan = opened.plan_replacement(wanted, copy, target)
    if not as_json:
        _print_plan(plan)
    if dry_run:
        if as_json:
            print_json({"plan": _values(plan), "done": False})
        else:
            say("dry run: nothing was changed")
        return
    _ask(plan, consent)
    replaced = opened.replace(plan, progress())
    if as_json:
        print_json(
            {
                "plan": _values(plan),
                "done": True,
                "reach": replaced.reach,
                "phases": replaced.phases,
                "notes": replaced.notes,
                "kept": str(plan.places.aside),
                "next_steps": replaced.next_steps,
            }
        )
    else:
        _print_replaced(replaced)


def _ask(plan: ReplacePlan, consent: Consent) -> None:
    """Raise unless a person, or all words at once, say yes to production's replacement."""
    from kb_dr.operations.plan_replacement import require_consent

    target, service = plan.restore.target, plan.service
    if not consent.force_production:
        require_consent(plan, force_production=False, typed=None)
    typed = consent.confirm_service
    if sys.stdin.isatty():
        if typed is None:
            click.echo(f"This stops service {service}, and replaces {target}.", err=True)
            typed = click.prompt(
                f"Type {service} to go on", default="", show_default=False, err=True
            )
    elif not consent.yes:
        raise ConfigurationError(
            f"replace {target}: not confirmed; this is only the plan",
            hint="Nothing was changed. To do it: add --yes"
            + ("" if typed is not None else f" --confirm-service {service}"),
        )
    require_consent(plan, force_production=True, typed=typed)


def _repair(
    opened: Installation,
    target: Path,
    found: Replacement,
    consent: Consent,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if dry_run or not consent.yes:
        raise RecoveryError(f"replace {target}: {_told(found)}", hint=_way_back(target))
    done = opened.repair_replacement(target)
    if not as_json:
        say(f"A replacement of {target} had been cut off; the old service is back:")
        for line in done or ("nothing had been changed",):
            say(f"  {line}")


def _told(found: Replacement) -> str:
    return (
        f"a replacement is at work, or was cut off at: {found.step}; the old directory is "
        f"{found.places.target}, or {found.places.aside} if that is there"
    )


def _way_back(target: Path) -> str:
    return (
        f"If none is at work: kb-dr restore --into {target} --roll-back --yes brings the old "
        "service back. A new --replace with --yes does so first."
    )


def _values(plan: ReplacePlan) -> dict[str, object]:
    from kb_dr.cli.recovery_plan import plan_values

    return {
        **plan_values(plan.restore),
        "service": plan.service,
        "server": str(plan.standing.server),
        "kept_as": str(plan.places.aside),
        "steps": [{"step": step, "runs": runs} for step, runs in plan.steps],
        "notes": [*plan.restore.recovery.notes, *plan.notes],
    }


def _print_plan(plan: ReplacePlan) -> None:
    from kb_dr.operations.describe_recovery import plan_rows

    rows = (
        *plan_rows(plan.restore),
        ("service", f"{plan.service}: PRODUCTION, its server is {plan.standing.server}"),
        ("old directory", f"kept as {plan.places.aside}"),
        *(("note", line) for line in plan.notes),
    )
    print_table("Plan", ("", ""), rows)
    print_table("Steps", ("step", "runs"), plan.steps)


def _print_replaced(replaced: Replaced) -> None:
    from kb_dr.operations.describe_recovery import reached

    plan = replaced.plan
    print_table(
        f"Replaced {plan.restore.target}",
        ("phase", "seconds", "bytes"),
        ((p.name, f"{p.seconds:.2f}", size(p.size_bytes)) for p in replaced.phases),
        caption=reached(replaced.reach),
    )
    for note in replaced.notes:
        say(f"note: {note}")
    say("What to do now:")
    for number, step in enumerate(replaced.next_steps, 1):
        say(f"  {number}. {step}")
