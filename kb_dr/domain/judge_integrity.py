"""What an integrity report comes to: its coverage, and what is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kb_dr.domain.backup_families import DUMPS
from kb_dr.domain.coverage import Band, share
from kb_dr.domain.integrity_report import BackupLine, CopyReport, Coverage, IntegrityReport
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Standing
from kb_dr.domain.reread import SLICES

RECENT_DAYS = 2.0
"""One report a day is made; an older one says nothing of today."""

_OVERDUE = timedelta(days=SLICES + 5)
"""A report may be missed, and its part is read by the next."""


def coverage(copies: Sequence[CopyReport], at: datetime, age_seconds: float) -> Coverage:
    """Verified coverage of these copies at a moment (F11). Dumps are counted by themselves: no
    copy is recoverable because of one.
    """
    lines = [each for copy in copies for each in copy.backups if each.keep]
    windows = [share(copy.stretches, Band.PROVEN) for copy in copies]
    return Coverage(
        backups=_share([each for each in lines if each.kind not in DUMPS], at, age_seconds),
        window=min((each or 0.0 for each in windows), default=None),
        copies=sum(_has_fresh(copy, at, age_seconds) for copy in copies) / len(copies)
        if copies
        else None,
        dumps=_share([each for each in lines if each.kind in DUMPS], at, age_seconds),
    )


def _share(kept: Sequence[BackupLine], at: datetime, age_seconds: float) -> float | None:
    fresh = sum(_is_fresh(each, at, age_seconds) for each in kept)
    return fresh / len(kept) if kept else None


def _is_fresh(each: BackupLine, at: datetime, age_seconds: float) -> bool:
    """One of the future, by a clock that was wrong, would be young for as long."""
    if each.proven_at is None or each.problem:
        return False
    return -CLOCK_SLACK_SECONDS <= (at - each.proven_at).total_seconds() <= age_seconds


def _has_fresh(copy: CopyReport, at: datetime, age_seconds: float) -> bool:
    return any(_is_fresh(each, at, age_seconds) for each in _bases(copy))


def _bases(copy: CopyReport) -> list[BackupLine]:
    """What recovery rests on."""
    return [each for each in copy.backups if each.kind not in DUMPS]


def shortfalls(copies: Sequence[CopyReport], at: datetime, age_seconds: float) -> list[str]:
    """What is wrong with them, for people; nothing when all is well."""
    found: list[str] = []
    for copy in copies:
        name = copy.copy
        if copy.problem:
            found.append(f"{name}: {copy.problem}")
        if copy.reread is not None and copy.reread.damaged:
            bad = len(copy.reread.damaged) + copy.reread.more_damaged
            found.append(f"{name}: {bad} damaged objects, the first: {copy.reread.damaged[0]}")
        found += [
            f"{name}: {each.id}: {each.problem or 'its newest proof failed or is void'}"
            for each in copy.backups
            if each.problem or each.standing in (Standing.FAILED, Standing.VOID)
        ]
        if not _bases(copy) and not copy.problem:
            found.append(f"{name}: no backup")
        elif _bases(copy) and not _has_fresh(copy, at, age_seconds):
            days = age_seconds / 86400
            found.append(f"{name}: no backup was proven to restore from it within {days:g} days")
        if copy.read_since is not None and at - copy.read_since > _OVERDUE:
            found.append(f"{name}: not every byte was read again since {copy.read_since:%Y-%m-%d}")
    return found


@dataclass(frozen=True, slots=True)
class JudgedReports:
    """What the reports there are say of the copies that are configured."""

    report: IntegrityReport
    """The one that decides."""
    wrong: tuple[str, ...]
    """Nothing: all is well."""


def judge_reports(
    reports: Sequence[IntegrityReport], copies: Mapping[str, str], *, unread: Sequence[str] = ()
) -> JudgedReports | None:
    """Judge by reports, oldest first, the copies of these names and addresses; None without any.

    The newest that looked at every copy decides: one made where fewer are configured, or other
    places bear their names, says nothing of the rest. What a newer one found wrong counts;
    ``unread`` names those that nobody can read, and which may have found something.
    """
    wanted = set(copies.items())
    seen = [(each, {(copy.copy, copy.url) for copy in each.copies}) for each in reports]
    telling = [(each, found) for each, found in seen if found & wanted]
    if not telling:
        return None
    whole = next((each for each, found in reversed(telling) if wanted <= found), None)
    newest, found = telling[-1]
    if whole is None:
        missing = ", ".join(
            f"{name} ({url})" for name, url in copies.items() if (name, url) not in found
        )
        return JudgedReports(newest, (f"report {newest.id} says nothing of {missing}", *unread))
    decisive = whole if newest.good else newest
    return JudgedReports(decisive, (*decisive.shortfalls, *unread))
