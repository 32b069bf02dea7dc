"""Describe a recovery for people: what a plan says, and what can be had where a target cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Reach
from kb_dr.domain.recoverable_window import Nearest, RecoverableWindow
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.wording import age, first_few, moment, size
from kb_dr.errors import NoUsableBackup, TargetUnreachable, TimelineForked, WalGap
from kb_dr.operations.restore_postgres import RestorePlan

TARGET_REFUSALS = (NoUsableBackup, TargetUnreachable, TimelineForked, WalGap)
"""What is wrong with a target, and not with the place it is to be restored to."""

WINDOW_COLUMNS = ("copy", "timeline", "from", "to", "newest LSN", "ended by", "backups")

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class NearestPoint:
    """A state that can be had instead of the one that was asked for."""

    side: str
    """``before`` or ``after`` what was asked for."""
    at: datetime | None
    copy: str
    lsn: Lsn | None
    timeline: int


def plan_rows(plan: RestorePlan) -> tuple[tuple[str, object], ...]:
    """A plan: what it is, what it says."""
    recovery = plan.recovery
    manifest = recovery.stored.manifest
    return (
        ("asked for", str(recovery.target)),
        ("reachable", "yes"),
        ("backup", f"{manifest.id}, taken {moment(manifest.finished)}"),
        *(("made of", line) for line in _chain(recovery)),
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
        *(("passed over", line) for line in first_few(plan.passed_over)),
        *(("note", line) for line in recovery.notes),
    )


def _chain(recovery: RecoveryPlan) -> tuple[str, ...]:
    """Each backup an incremental one is put together from; nothing for a full."""
    if len(recovery.chain) < 2:
        return ()
    return tuple(
        f"{each.manifest.id}, {size(each.manifest.plain_bytes)}"
        for each in recovery.chain
        if each.manifest.has_files
    )


def _expected_time(plan: RestorePlan) -> str:
    known = plan.forecast
    if known is None or known.seconds is None:
        return f"not known: {known.basis if known else 'nothing was measured'}"
    parts = ", ".join(f"{each.name} {each.seconds:.1f} s" for each in known.phases)
    return f"{age(known.seconds)}: {parts} ({known.basis})"


def window_rows(windows: Sequence[RecoverableWindow]) -> tuple[Row, ...]:
    """Every recoverable stretch, a row of WINDOW_COLUMNS each."""
    return tuple(
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
    )


def nearest_points(near: Nearest) -> tuple[NearestPoint, ...]:
    """The nearest states on both sides; none where there is none."""
    found = []
    if near.before is not None:
        w = near.before
        found.append(NearestPoint("before", w.ends_at, w.copy, w.ends_lsn, w.timeline))
    if near.after is not None:
        w = near.after
        found.append(NearestPoint("after", w.begins_at, w.copy, w.begins_lsn, w.timeline))
    return tuple(found)


def reached(reach: Reach) -> str:
    """What a recovery came to that came to the end of its plan, in one line."""
    return (
        f"asked for {reach.asked}; reached {reach.reached_lsn} on timeline "
        f"{reach.reached_timeline}, as planned; newest commit {moment(reach.newest_commit)}"
    )
