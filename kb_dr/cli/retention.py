"""`kb-dr retention plan|apply|undelete`: what goes and why, letting it go, and bringing it back."""

from collections.abc import Sequence

import click

from kb_dr.cli.lifecycle import hidden, lifecycle
from kb_dr.cli.opened import installation, json_option, parse_backup_id, progress
from kb_dr.cli.output import print_json, print_table, say, size
from kb_dr.domain.retention_table import retention_rows
from kb_dr.errors import ConfigurationError, PlanChanged
from kb_dr.installation import Installation
from kb_dr.operations.apply_retention import AppliedRetention
from kb_dr.operations.plan_copy_retention import CopyRetention
from kb_dr.settings import COPY_NAMES

SHOWN = 16
"""So many digits of a fingerprint are shown, and name a plan."""

_copy = click.option(
    "--copy", "copy", type=click.Choice(COPY_NAMES), help="Only this copy.  [default: each]"
)


@click.group("retention")
def command() -> None:
    """What goes and why; let it go; bring it back.

    A backup that expires is no backup any more; its objects stay for the days of
    KB_DR_RETENTION_UNDELETE_DAYS, and can be brought back until then.
    """


@command.command("plan")
@_copy
@json_option
def plan(copy: str | None, as_json: bool) -> None:
    """Every backup: whether it stays, and why; and the WAL that goes. Nothing is changed."""
    opened = installation()
    planned = [opened.plan_retention(each) for each in _copies(opened, copy)]
    if as_json:
        print_json([_values(each) for each in planned])
        return
    for each in planned:
        _print_plan(each)


@command.command("apply")
@_copy
@click.option(
    "--plan",
    "fingerprints",
    multiple=True,
    metavar="FINGERPRINT",
    help="Only what this plan showed, and nothing when it has changed; one for each copy.",
)
@click.option("--yes", is_flag=True, help="Do it; without, show the plan and what to type.")
@json_option
def apply(copy: str | None, fingerprints: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Let go of what the plan says: manifests now, their objects when they can come back no more.

    51: the plan is not the one shown. 54: something that could forbid it cannot be read.
    """
    if any(len(each) < SHOWN for each in fingerprints):
        raise ConfigurationError(
            "retention apply: --plan is too short", hint=f"Type {SHOWN} digits of it, or all."
        )
    opened = installation()
    planned = [opened.plan_retention(each) for each in _copies(opened, copy)]
    _require_shown(planned, fingerprints)
    if not yes:
        if as_json:
            print_json([_values(each) for each in planned])
            return
        for each in planned:
            _print_plan(each)
        going = [each for each in planned if _anything_goes(each)]
        for each in going:
            say(
                f"nothing was changed; to do it: kb-dr retention apply --copy {each.plan.copy} "
                f"--plan {each.plan.fingerprint[:SHOWN]} --yes"
            )
        if not going:
            say("nothing goes")
        return
    with opened.pinged("retention", copy or "", parts=opened.copies, every=True):
        done = [opened.apply_retention(each, progress()) for each in planned]
    if as_json:
        print_json(done)
        return
    for applied in done:
        _print_applied(applied)


@command.command("undelete")
@click.argument("backup_id", metavar="ID")
@click.option("--copy", "copy", type=click.Choice(COPY_NAMES), required=True, help="Where.")
@click.option(
    "--reason", default="brought back", show_default=True, metavar="TEXT", help="Why it is held."
)
@json_option
def undelete(backup_id: str, copy: str, reason: str, as_json: bool) -> None:
    """Bring back a backup that expired in one copy, and what it is built upon.

    It is held from then on, else the next retention would let go of it again.
    """
    back = installation().undelete(parse_backup_id(backup_id), copy, reason)
    if as_json:
        print_json(back)
    elif not back.brought_back:
        say(f"{back.backup_id} stands in {copy} already; it is held now")
    else:
        say(f"brought back in {copy}: {', '.join(back.brought_back)}")
        say(f"held; when it may go: kb-dr release {back.backup_id} --reason TEXT")


command.add_command(lifecycle)
command.add_command(hidden)


def _copies(opened: Installation, copy: str | None) -> Sequence[str]:
    return opened.copies if copy is None else (copy,)


def _require_shown(planned: Sequence[CopyRetention], fingerprints: Sequence[str]) -> None:
    """Whatever goes was shown: with ``--plan`` each plan in which something goes is named."""
    if not fingerprints:
        return
    for each in planned:
        found = each.plan.fingerprint
        if _anything_goes(each) and not any(found.startswith(given) for given in fingerprints):
            raise PlanChanged(
                f"apply retention to {each.plan.copy}: the plan is {found[:SHOWN]}, expected "
                f"{' or '.join(given[:SHOWN] for given in fingerprints)}",
                hint=f"Look at it again: kb-dr retention plan --copy {each.plan.copy}",
            )
    for given in fingerprints:
        if not any(each.plan.fingerprint.startswith(given) for each in planned):
            raise PlanChanged(
                f"apply retention: no copy's plan is {given[:SHOWN]} any more",
                hint="Look at it again: kb-dr retention plan",
            )


def _anything_goes(each: CopyRetention) -> bool:
    return bool(each.plan.expire or each.plan.purge_now or each.plan.wal)


def _values(each: CopyRetention) -> dict[str, object]:
    return {
        "plan": each.plan,
        "stored_bytes": each.gathered.stored_bytes,
        "freed_bytes": each.freed_bytes,
    }


def _print_plan(each: CopyRetention) -> None:
    found, sizes = each.plan, each.gathered.stored_bytes
    print_table(
        f"Retention of {found.copy} ({found.url})",
        ("id", "taken", "tiers", "", "stored", "why"),
        (
            (row.id, row.taken, row.tiers, row.becomes, size(sizes.get(row.id)), row.why)
            for row in retention_rows(found)
        ),
        caption="" if found.decisions else "no backup",
    )
    if found.purge_now:
        print_table(
            "Expired, and to be purged now",
            ("id", "stored"),
            ((name, size(sizes.get(name))) for name in found.purge_now),
        )
    if found.wal:
        print_table(
            "WAL that goes",
            ("cluster", "timeline", "from", "to", "files", "stored"),
            (
                (
                    w.system_identifier,
                    f"{w.timeline:08X}",
                    w.first,
                    w.last,
                    w.files,
                    size(w.stored_bytes),
                )
                for w in found.wal
            ),
        )
    for note in found.notes:
        say(f"note: {note}")
    say(
        f"{len(found.expire)} of {len(found.decisions)} backups expire, {len(found.purge_now)} are "
        f"purged, {sum(w.files for w in found.wal)} WAL files go; "
        f"{size(each.freed_bytes)} in the end"
    )
    say(f"fingerprint: {found.fingerprint[:SHOWN]}")


def _print_applied(applied: AppliedRetention) -> None:
    print_table(
        f"Retention of {applied.copy}",
        ("id", "became", "why"),
        ((each.backup_id, each.outcome, each.detail) for each in applied.dealt),
        caption="" if applied.dealt else "no backup goes",
    )
    say(f"WAL: {applied.wal.files} files went, {size(applied.wal.stored_bytes)}")
    for note in applied.notes:
        say(f"note: {note}")
