"""Stretches of time that can be recovered, and what is nearest to a moment that cannot."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recovery_target import AtLsn, AtTime, RecoveryTarget


@dataclass(frozen=True, slots=True)
class RecoverableWindow:
    """One stretch of one copy, from the end of its oldest backup to where WAL ends or breaks off.

    Several windows of a copy mean gaps, or timelines that went different ways from a common past.
    """

    copy: str
    system_identifier: int
    timeline: int
    """The timeline it ends on."""
    begins_at: datetime
    begins_lsn: Lsn
    ends_at: datetime | None
    """When its last transaction ended; None when it holds none, or it could not be told."""
    ends_lsn: Lsn | None
    """Where its last record begins: the newest LSN that can be asked for."""
    ended_by: str
    """``end of the archive``, or what breaks it off."""
    backups: tuple[str, ...]
    """Oldest first."""
    covered_until: datetime | None = None
    """What was committed by then is in it; a restore point tells that of a quiet server."""
    problem: str = ""
    """Why its end could not be told."""
    line: int = 0
    """The newest timeline whose line it lies on: younger than ``timeline`` where that one's first
    segment is missing. 0 in records that are older than this field."""


def newest_window(windows: Iterable[RecoverableWindow]) -> RecoverableWindow | None:
    """The window a restore to the newest ends in: of the newest backup, on its newest line.

    Another may reach farther, as where an old primary goes on; nobody is led there without asking
    for it. None when there is none, or its end is not known.
    """

    def rank(window: RecoverableWindow) -> tuple[str, int, int]:
        stamp = max(BackupId.parse(each).stamp for each in window.backups)
        return stamp, window.line, window.timeline

    found = max(windows, key=rank, default=None)
    return found if found is not None and found.covered_until is not None else None


@dataclass(frozen=True, slots=True)
class Nearest:
    """What can be reached instead of a target that cannot."""

    before: RecoverableWindow | None
    """The window that ends closest before it: its end is the nearest state."""
    after: RecoverableWindow | None
    """The window that begins closest behind it: its begin is the nearest state."""


def nearest(windows: Iterable[RecoverableWindow], target: RecoveryTarget) -> Nearest:
    """The nearest reachable states on both sides of a moment or position; neither for others."""
    known = tuple(windows)
    before: list[tuple[float, RecoverableWindow]] = []
    after: list[tuple[float, RecoverableWindow]] = []
    for window in known:
        if isinstance(target, AtTime):
            if window.ends_at is not None and window.ends_at <= target.at:
                before.append(((target.at - window.ends_at).total_seconds(), window))
            if window.begins_at >= target.at:
                after.append(((window.begins_at - target.at).total_seconds(), window))
        elif isinstance(target, AtLsn):
            if window.ends_lsn is not None and window.ends_lsn <= target.lsn:
                before.append((float(target.lsn - window.ends_lsn), window))
            if window.begins_lsn >= target.lsn:
                after.append((float(window.begins_lsn - target.lsn), window))
    return Nearest(_closest(before), _closest(after))


def _closest(found: list[tuple[float, RecoverableWindow]]) -> RecoverableWindow | None:
    return min(found, key=lambda each: each[0])[1] if found else None
