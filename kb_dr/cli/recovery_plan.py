"""A recovery plan on the terminal, and what can be reached where a target cannot."""

from collections.abc import Sequence

from kb_dr.cli.output import age, moment, print_table, say, size
from kb_dr.domain.recoverable_window import Nearest, RecoverableWindow
from kb_dr.operations.restore_postgres import RestorePlan


def plan_values(plan: RestorePlan) -> dict[str, object]:
    """For machines."""
    recovery = plan.recovery
    return {
        "reachable": True,
        "asked": str(recovery.target),
        "backup": recovery.stored.manifest.id,
        "manifest_digest": recovery.stored.digest,
        "copy": recovery.copy,
        "url": recovery.url,
        "target": str(plan.target),
        "timeline": recovery.timeline,
        "first_segment": recovery.first_segment,
        "last_segment": recovery.last_segment,
        "segments": len(recovery.segments),
        "expected_end": recovery.expected_end,
        "expected_timeline": recovery.expected_timeline,
        "newest_commit": recovery.newest_commit,
        "bytes_needed": recovery.bytes_needed,
        "bytes_free": plan.free_bytes,
        "forecast": plan.forecast,
        "passed_over": plan.passed_over,
        "notes": recovery.notes,
    }


def plan_rows(plan: RestorePlan) -> tuple[tuple[str, object], ...]:
    """For people: what it is, what it says."""
    recovery = plan.recovery
    manifest = recovery.stored.manifest
    return (
        ("asked for", str(recovery.target)),
        ("reachable", "yes"),
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
        ("will take about", _expected_time(plan)),
        *(("passed over", line) for line in plan.passed_over),
        *(("note", line) for line in recovery.notes),
    )


def _expected_time(plan: RestorePlan) -> str:
    known = plan.forecast
    if known is None or known.seconds is None:
        return f"not known: {known.basis if known else 'nothing was measured'}"
    parts = ", ".join(f"{each.name} {each.seconds:.1f} s" for each in known.phases)
    return f"{age(known.seconds)}: {parts} ({known.basis})"


def print_windows(windows: Sequence[RecoverableWindow]) -> None:
    """Every recoverable stretch, a line each."""
    print_table(
        "Recoverable windows",
        ("copy", "timeline", "from", "to", "newest LSN", "ended by", "backups"),
        (
            (
                each.copy,
                each.timeline,
                f"{moment(each.begins_at)} ({each.begins_lsn})",
                each.problem or moment(each.ends_at),
                each.ends_lsn,
                each.ended_by,
                len(each.backups),
            )
            for each in windows
        ),
        caption="" if windows else "there is none",
    )


def print_nearest(near: Nearest) -> None:
    """What can be had instead."""
    if near.before is not None:
        say(
            f"nearest before: {moment(near.before.ends_at)} in {near.before.copy}, with "
            f"--target-lsn {near.before.ends_lsn} --target-timeline {near.before.timeline}"
        )
    if near.after is not None:
        say(
            f"nearest after: {moment(near.after.begins_at)} in {near.after.copy}, with "
            f"--target-lsn {near.after.begins_lsn} --target-timeline {near.after.timeline}"
        )
