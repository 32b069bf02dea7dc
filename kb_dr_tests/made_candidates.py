"""Backups as retention sees them, made up from a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.hold import HoldAction, HoldEvent
from kb_dr.domain.plan_retention import plan_retention
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, RetentionPlan
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.wal_names import Segment

_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """``2026-11-20 02:00``, of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def segment_at(moment: datetime, timeline: int = 1) -> Segment:
    """The segment being written then: one every five minutes."""
    return Segment(timeline, (moment - _EPOCH) // timedelta(minutes=5))


def full(
    started: str | datetime,
    standing: Standing = Standing.UNPROVEN,
    *,
    kind: BackupKind = BackupKind.FULL,
    parent: Candidate | None = None,
    held: str = "",
    locked_until: datetime | None = None,
    system: int = 7,
    timeline: int = 1,
    minutes: int = 2,
) -> Candidate:
    """A full backup that took two minutes."""
    begun = at(started) if isinstance(started, str) else started
    name = str(BackupId.of("kb", kind, begun))
    holds = (HoldEvent(1, "h1", name, HoldAction.HOLD, begun, held, "ops1"),) if held else ()
    finished = begun + timedelta(minutes=minutes)
    return Candidate(
        id=name,
        kind=kind,
        digest=f"digest of {name}",
        started=begun,
        finished=finished,
        system_identifier=system,
        timeline=timeline,
        wal=(segment_at(begun, timeline), segment_at(finished, timeline)),
        parent=parent.id if parent else None,
        parent_digest=parent.digest if parent else None,
        standing=standing,
        holds=holds,
        locked_until=locked_until,
    )


def incremental(
    started: str | datetime, parent: Candidate, standing: Standing = Standing.UNPROVEN
) -> Candidate:
    """An incremental backup that took two minutes."""
    return full(started, standing, kind=BackupKind.INCR, parent=parent)


def dump(
    started: str | datetime, standing: Standing = Standing.UNPROVEN, *, held: str = ""
) -> Candidate:
    """A logical dump that took two minutes, and needs no WAL."""
    return replace(full(started, standing, kind=BackupKind.DUMP, held=held), wal=None)


def kept(plan: RetentionPlan) -> set[str]:
    """The ids of what stays."""
    return {each.id for each in plan.decisions if each.keep}


def why(plan: RetentionPlan, of: Candidate) -> str:
    """All reasons of one decision."""
    return "; ".join(next(each for each in plan.decisions if each.id == of.id).reasons)


NOW = at("2026-11-27 12:30")
DAYS = RetentionPolicy(0, 5, 0, 0, 0)
"""Five days of daily backups and nothing else: 11-22 lives, 11-21 is over."""


def plan(
    *candidates: Candidate, policy: RetentionPolicy = DAYS, now: datetime = NOW, **more: Any
) -> RetentionPlan:
    """What goes of these, of a copy nobody has to name."""
    return plan_retention(candidates, policy, now, copy="primary", url="file:///b", **more)
