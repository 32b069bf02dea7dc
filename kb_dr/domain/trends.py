"""How the figures went over time, as the records in the repositories tell it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.coverage import Band
from kb_dr.domain.integrity_report import IntegrityReport

DAYS = 90.0
"""So far back a trend is looked at."""

RTO, RPO = "rto_seconds", "rpo_seconds"
FULL_BYTES, INCR_BYTES = "full_bytes", "incr_bytes"
FULL_SECONDS, INCR_SECONDS = "full_seconds", "incr_seconds"
DUMP_BYTES, DUMP_SECONDS = "dump_bytes", "dump_seconds"
OF_BACKUPS, OF_WINDOW, OF_COPIES = (
    "proven_share_of_backups",
    "proven_share_of_window",
    "proven_share_of_copies",
)
SERIES = (
    *(RTO, RPO, FULL_BYTES, INCR_BYTES, FULL_SECONDS, INCR_SECONDS),
    *(DUMP_BYTES, DUMP_SECONDS),
    *(OF_BACKUPS, OF_WINDOW, OF_COPIES),
)
"""Each with its unit in its name; shares go from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Point:
    """One figure at one moment."""

    at: datetime
    value: float
    of: str
    """The record it comes from."""


@dataclass(frozen=True, slots=True)
class Trends:
    """Every series, each from the oldest point on; what was not measured has none."""

    since: datetime
    until: datetime
    series: Mapping[str, tuple[Point, ...]]
    unread: tuple[str, ...] = ()
    """Why some points may be missing."""

    def newest(self, name: str) -> Point | None:
        """The newest point of a series."""
        found = self.series.get(name, ())
        return found[-1] if found else None

    def of_late(self, name: str, since: datetime) -> tuple[Point, ...]:
        """The points of a series from a moment on."""
        return tuple(each for each in self.series.get(name, ()) if each.at >= since)


def in_order(points: Iterable[Point]) -> tuple[Point, ...]:
    """Oldest first."""
    return tuple(sorted(points, key=lambda each: (each.at, each.of)))


def rpo_of(report: IntegrityReport) -> float | None:
    """Seconds before a report that its worst copy could not recover to; None: could not tell.

    A copy that could not be looked at may be the worst.
    """
    if not report.copies or any(each.problem or not each.stretches for each in report.copies):
        return None
    last = [each.stretches[-1] for each in report.copies]
    return max(each.seconds if each.band is Band.GAP else 0.0 for each in last)


def growth(points: Sequence[tuple[datetime, float]]) -> float | None:
    """How a figure grows, a day: the slope of a line through all points (least squares).

    None where they are fewer than two, or all of one moment.
    """
    if len(points) < 2:
        return None
    days = [at.timestamp() / 86400 for at, _ in points]
    middle, usual = sum(days) / len(days), sum(value for _, value in points) / len(points)
    spread = sum((day - middle) ** 2 for day in days)
    if not spread:
        return None
    pairs = zip(days, points, strict=True)
    return sum((day - middle) * (value - usual) for day, (_, value) in pairs) / spread
