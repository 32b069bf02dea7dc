"""How much of what is kept has been shown to work: the recoverable window, and its proven part.

A moment is *recoverable* when a usable backup and all WAL up to it stand in the copy, as far as can
be told without doing it. It is *proven* when a restore of that copy has replayed through it.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Band(StrEnum):
    """What can be said of a stretch of time."""

    PROVEN = "proven"
    RECOVERABLE = "recoverable"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another, both included."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time of which one thing can be said."""

    begins: datetime
    ends: datetime
    band: Band

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.ends - self.begins).total_seconds()


def stretches(
    recoverable: Iterable[Span],
    proven: Iterable[Span],
    now: datetime,
    *,
    since: datetime | None = None,
) -> tuple[Stretch, ...]:
    """What can be said of the time from the oldest recoverable moment to now, without a hole.

    Nothing before ``since`` is looked at: backups kept for longer than WAL is are single moments.
    ``proven`` counts only where it is recoverable as well: what was shown once and has lost its
    WAL since is gone. Spans may overlap, and may be in any order; nothing behind ``now`` counts.
    """
    can = _merged(recoverable, now, since)
    shown = _merged(proven, now, since)
    if not can:
        return ()
    edges = {can[0].begins, now}
    for each in (*can, *shown):
        edges |= {each.begins, each.ends}
    moments = sorted(edge for edge in edges if can[0].begins <= edge <= now)
    found: list[Stretch] = []
    for begins, ends in itertools.pairwise(moments):
        band = _band(begins, ends, can, shown)
        if found and found[-1].band is band:
            found[-1] = Stretch(found[-1].begins, ends, band)
        else:
            found.append(Stretch(begins, ends, band))
    return tuple(found)


def share(found: Sequence[Stretch], *bands: Band) -> float | None:
    """The part of that time, 0 to 1, of which one of ``bands`` can be said; None without any."""
    whole = sum(each.seconds for each in found)
    if whole <= 0:
        return None
    return sum(each.seconds for each in found if each.band in bands) / whole


def _band(begins: datetime, ends: datetime, can: list[Span], shown: list[Span]) -> Band:
    if not _covers(can, begins, ends):
        return Band.GAP
    return Band.PROVEN if _covers(shown, begins, ends) else Band.RECOVERABLE


def _covers(spans: list[Span], begins: datetime, ends: datetime) -> bool:
    return any(each.begins <= begins and ends <= each.ends for each in spans)


def _merged(spans: Iterable[Span], now: datetime, since: datetime | None) -> list[Span]:
    """Disjoint, in order, none behind ``now`` or before ``since``."""
    found: list[Span] = []
    for each in sorted(spans, key=lambda span: span.begins):
        begins = each.begins if since is None else max(each.begins, since)
        if begins > now or each.ends < begins:
            continue
        ends = min(each.ends, now)
        if found and begins <= found[-1].ends:
            found[-1] = Span(found[-1].begins, max(found[-1].ends, ends))
        else:
            found.append(Span(begins, ends))
    return found
