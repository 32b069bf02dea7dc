"""What an integrity report comes to: its coverage, and what is wrong."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from kb_dr.domain.coverage import Band, share
from kb_dr.domain.integrity_report import BackupLine, CopyReport, Coverage
from kb_dr.domain.proof import Standing
from kb_dr.domain.reread import SLICES

_OVERDUE = timedelta(days=SLICES + 5)
"""A report may be missed, and its part is read by the next."""


def coverage(copies: Sequence[CopyReport], at: datetime, age_seconds: float) -> Coverage:
    """Verified coverage of these copies at a moment (F11)."""
    kept = [each for copy in copies for each in copy.backups if each.keep]
    fresh = [each for each in kept if _is_fresh(each, at, age_seconds)]
    windows = [share(copy.stretches, Band.PROVEN) for copy in copies]
    return Coverage(
        backups=len(fresh) / len(kept) if kept else None,
        window=min((each or 0.0 for each in windows), default=None),
        copies=sum(_has_fresh(copy, at, age_seconds) for copy in copies) / len(copies)
        if copies
        else None,
    )


def _is_fresh(each: BackupLine, at: datetime, age_seconds: float) -> bool:
    return each.proven_at is not None and (at - each.proven_at).total_seconds() <= age_seconds


def _has_fresh(copy: CopyReport, at: datetime, age_seconds: float) -> bool:
    return any(_is_fresh(each, at, age_seconds) for each in copy.backups)


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
        if not copy.backups and not copy.problem:
            found.append(f"{name}: no backup")
        elif copy.backups and not _has_fresh(copy, at, age_seconds):
            days = age_seconds / 86400
            found.append(f"{name}: no backup was proven to restore from it within {days:g} days")
        if copy.read_since is not None and at - copy.read_since > _OVERDUE:
            found.append(f"{name}: not every byte was read again since {copy.read_since:%Y-%m-%d}")
    return found
