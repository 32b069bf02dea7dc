"""`kb-dr restore`: a cluster in a new directory, or in the place of the service's own; a dump in a
database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kb_dr.cli.load_words import LoadOptions, load_options
from kb_dr.cli.opened import installation, json_option, progress
from kb_dr.cli.output import print_json, print_table, say, size
from kb_dr.cli.recovery_words import target_options
from kb_dr.cli.replace import Consent, replace_options
from kb_dr.errors import ConfigurationError, RecoveryError, WalGap

if TYPE_CHECKING:
    from kb_dr.installation import Installation
    from kb_dr.operations.plan_target import Wanted
    from kb_dr.operations.restore_postgres import Restored


@click.command("restore")
@target_options
@click.option(
    "--into",
    "target",
    metavar="DIR|URL",
    help="A directory that is not there yet, or empty; with --replace the service's own. Of a "
    "dump: postgresql://USER@HOST:PORT/NAME, without a password; default: beside the service's.",
)
@load_options
@replace_options
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@json_option
def command(
    target: str | None,
    copy: str,
    dry_run: bool,
    as_json: bool,
    consent: Consent,
    load: LoadOptions,
    **words: Any,
) -> None:
    """Restore into a new directory: fetched, verified, recovered, compared with the plan, stopped.

    Nothing is written before the plan holds: a target that cannot be reached, a directory that is
    not empty, in use, or production's own is refused. The directory appears as the last step.

    With --replace the cluster of a service is replaced: the service is stopped, the old directory
    kept aside, the restored one started and checked; on any failure the old one comes back.

    A logical dump (--backup kb-dump-…, --dump) or a local file (--file) goes into a new database
    beside that under protection, whole or in part; with --replace it takes its place.
    """
    from kb_dr.cli.load_words import is_load, require_load_words, require_no_load_words
    from kb_dr.cli.recovery_words import copy_of
    from kb_dr.cli.restore_dump import restore_dump

    if is_load(load, words["backup_id"], target):
        backup = require_load_words(load, words["backup_id"], target, consent, words)
        restore_dump(
            installation(), load, backup, copy_of(copy), target, consent,
            dry_run=dry_run, as_json=as_json,
        )  # fmt: skip
        return
    require_no_load_words(load)
    if target is None:
        raise ConfigurationError(
            "restore: no --into",
            hint="Give --into DIRECTORY; a dump (--backup kb-dump-…, --dump, --file FILE) needs "
            "none.",
        )
    _restore_files(Path(target), copy, consent, words, dry_run=dry_run, as_json=as_json)


def _restore_files(
    target: Path,
    copy: str,
    consent: Consent,
    words: dict[str, Any],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from kb_dr.cli.recovery_plan import plan_values, print_windows
    from kb_dr.cli.recovery_words import copy_of, wanted_of
    from kb_dr.cli.replace import replace_in_place, require_none
    from kb_dr.operations.describe_recovery import TARGET_REFUSALS, plan_rows

    opened = installation()
    if consent.roll_back or consent.replace:
        wanted = None if consent.roll_back else wanted_of(**words)
        replace_in_place(
            opened, wanted, copy_of(copy), target, consent, dry_run=dry_run, as_json=as_json
        )
        return
    wanted = wanted_of(**words)
    require_none(opened, target, consent)
    try:
        plan = opened.plan_restore(wanted, copy_of(copy), target)
    except TARGET_REFUSALS as error:
        if dry_run:
            _show_what_can_be_reached(opened, wanted, copy_of(copy), error, as_json=as_json)
        raise
    if not as_json:
        print_table("Plan", ("", ""), plan_rows(plan))
    if dry_run:
        if as_json:
            print_json({"plan": plan_values(plan), "done": False})
        else:
            print_windows(opened.recovery_windows(plan.recovery.copy))
            say("dry run: nothing was changed")
        return
    restored = opened.restore(plan, progress())
    if as_json:
        print_json(
            {
                "plan": plan_values(plan),
                "done": True,
                "reach": restored.reach,
                "phases": restored.phases,
                "next_steps": restored.next_steps,
            }
        )
    else:
        _print_restored(restored)


def _show_what_can_be_reached(
    opened: Installation,
    wanted: Wanted,
    copy: str | None,
    error: RecoveryError | WalGap,
    *,
    as_json: bool,
) -> None:
    from kb_dr.cli.recovery_plan import print_nearest, print_windows
    from kb_dr.domain.recoverable_window import nearest

    windows = opened.recovery_windows(copy)
    near = nearest(windows, wanted.target)
    if as_json:
        plan = {"reachable": False, "asked": str(wanted.target), "why": str(error)}
        print_json({"plan": plan, "nearest": near, "windows": windows, "done": False})
        return
    print_table("Plan", ("", ""), (("asked for", wanted.target), ("reachable", f"NO: {error}")))
    print_windows(windows)
    print_nearest(near)


def _print_restored(restored: Restored) -> None:
    from kb_dr.operations.describe_recovery import reached

    print_table(
        f"Restored into {restored.plan.target}",
        ("phase", "seconds", "bytes"),
        ((p.name, f"{p.seconds:.2f}", size(p.size_bytes)) for p in restored.phases),
        caption=reached(restored.reach),
    )
    say("What to do now:")
    for number, step in enumerate(restored.next_steps, 1):
        say(f"  {number}. {step}")
