"""`kb-dr restore`: a cluster in a new directory."""

from pathlib import Path

import click

from kb_dr.cli.opened import from_option, installation, json_option, parse_backup_id, progress
from kb_dr.cli.output import moment, print_json, print_table, say, size
from kb_dr.errors import ConfigurationError
from kb_dr.operations.restore_postgres import Restored, RestorePlan


@click.command("restore")
@click.option("--latest", is_flag=True, help="The newest backup, to the end of the archive.")
@click.option("--backup", "backup_id", metavar="ID", help="This backup, to the end of the archive.")
@click.option(
    "--into",
    "target",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="A directory that is not there yet, or empty.",
)
@from_option("primary")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@json_option
def command(
    latest: bool, backup_id: str | None, target: Path, copy: str, dry_run: bool, as_json: bool
) -> None:
    """Restore into a new directory: fetched, verified, recovered, compared with the plan, stopped.

    Nothing is written before the plan holds: a directory that is not empty, in use, or
    production's own is refused. The target appears as the very last step.
    """
    if latest == (backup_id is not None):
        raise ConfigurationError(
            "restore: give either --latest or --backup ID", hint="`kb-dr list` shows the ids."
        )
    opened = installation()
    wanted = parse_backup_id(backup_id) if backup_id is not None else None
    plan = opened.plan_restore(wanted, copy, target)
    if not as_json:
        _print_plan(plan)
    if dry_run:
        if as_json:
            print_json({"plan": _plan_values(plan), "done": False})
        else:
            say("dry run: nothing was changed")
        return
    restored = opened.restore(plan, progress())
    if as_json:
        print_json(
            {
                "plan": _plan_values(plan),
                "done": True,
                "reach": restored.reach,
                "phases": restored.phases,
                "next_steps": restored.next_steps,
            }
        )
    else:
        _print_restored(restored)


def _plan_values(plan: RestorePlan) -> dict[str, object]:
    recovery = plan.recovery
    return {
        "backup": recovery.stored.manifest.id,
        "manifest_digest": recovery.stored.digest,
        "copy": recovery.copy,
        "url": recovery.url,
        "target": str(plan.target),
        "first_segment": recovery.first_segment,
        "last_segment": recovery.last_segment,
        "expected_end": recovery.expected_end,
        "expected_timeline": recovery.expected_timeline,
        "newest_commit": recovery.newest_commit,
        "bytes_needed": recovery.bytes_needed,
        "bytes_free": plan.free_bytes,
        "passed_over": plan.passed_over,
        "notes": recovery.notes,
    }


def _print_plan(plan: RestorePlan) -> None:
    recovery = plan.recovery
    manifest = recovery.stored.manifest
    print_table(
        "Plan",
        ("", ""),
        (
            ("backup", f"{manifest.id}, taken {moment(manifest.finished)}"),
            ("from", f"{recovery.copy} ({recovery.url})"),
            ("into", plan.target),
            (
                "WAL",
                f"{recovery.first_segment} to {recovery.last_segment}, "
                f"{len(recovery.segments)} segments",
            ),
            ("will reach", f"{recovery.expected_end} on timeline {recovery.expected_timeline}"),
            ("newest commit there", moment(recovery.newest_commit)),
            ("room", f"{size(recovery.bytes_needed)} needed, {size(plan.free_bytes)} free"),
            *(("passed over", line) for line in plan.passed_over),
            *(("note", line) for line in recovery.notes),
        ),
    )


def _print_restored(restored: Restored) -> None:
    reach = restored.reach
    print_table(
        f"Restored into {restored.plan.target}",
        ("phase", "seconds", "bytes"),
        ((p.name, f"{p.seconds:.2f}", size(p.size_bytes)) for p in restored.phases),
        caption=f"reached {reach.reached_lsn} on timeline {reach.reached_timeline}, as planned; "
        f"newest commit {moment(reach.newest_commit)}",
    )
    say("What to do now:")
    for number, step in enumerate(restored.next_steps, 1):
        say(f"  {number}. {step}")
