"""Thresholds: from where on a check of the watch says no (requirement W2)."""

from dataclasses import dataclass

from kb_dr.settings.reader import Reader


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Besides the objectives, and the used share of a disk. What is exactly there still holds."""

    increment_age_seconds: float = 3 * 3600.0
    """How old the newest incremental backup may be."""
    dump_age_seconds: float = 194 * 3600.0
    """How old the newest logical dump may be: a week, a day to mend what failed, and some more."""
    backup_size_percent: float = 50.0
    """The newest full backup against the mean of the 7 days before it; a dump against 35."""
    backup_seconds: float = 30 * 60.0
    """How long a full backup, or a dump, may take."""
    waiting_segments: int = 100
    """WAL segments that may wait to be archived."""
    copy_lag_seconds: float = 3600.0
    """How long something may stand in the primary and not in a further copy."""
    space_critical_percent: float = 95.0
    """Used share of a file system from which on its filling up is critical."""
    coverage_copies_percent: float = 100.0
    """Copies with a fresh proof, of all."""
    coverage_percent: float = 0.0
    """Backups with a fresh proof, of all that are kept."""


def read_thresholds(reader: Reader) -> Thresholds:
    """Those of the settings. Problems are the reader's."""
    return Thresholds(
        increment_age_seconds=reader.number("KB_DR_INCREMENT_AGE_HOURS", 3, 0.001) * 3600,
        dump_age_seconds=reader.number("KB_DR_DUMP_AGE_HOURS", 8 * 24 + 2, 0.001) * 3600,
        backup_size_percent=reader.whole("KB_DR_BACKUP_SIZE_PERCENT", 50, 0, 100),
        backup_seconds=reader.number("KB_DR_BACKUP_MINUTES", 30, 0.001) * 60,
        waiting_segments=reader.whole("KB_DR_WAL_WAITING", 100, 0, 1_000_000),
        copy_lag_seconds=reader.number("KB_DR_COPY_LAG_SECONDS", 3600, 0),
        space_critical_percent=reader.number("KB_DR_SPACE_CRITICAL_PERCENT", 95, 1),
        coverage_copies_percent=reader.whole("KB_DR_COVERAGE_COPIES_PERCENT", 100, 0, 100),
        coverage_percent=reader.whole("KB_DR_COVERAGE_PERCENT", 0, 0, 100),
    )
