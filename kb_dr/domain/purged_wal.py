"""WAL that retention let go of: a hole that was made on purpose is no gap."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.wal_names import Segment

Stretches = Mapping[int, tuple[tuple[int, int], ...]]
"""Timeline to first and last segment number; ascending, disjoint."""


@dataclass(frozen=True, slots=True)
class PurgedStretch:
    """Segments of one timeline, both ends included, by name."""

    first: str
    last: str


@dataclass(frozen=True, slots=True)
class PurgedWal:
    """Everything of one cluster's WAL that one repository has let go of so far.

    Written there before any of it goes. A later record says all that the earlier ones said.
    """

    schema_version: int
    id: str
    """Begins with the time, ``YYYYMMDD-HHMMSS-…``."""
    system_identifier: int
    segment_bytes: int
    at: datetime
    host: str
    stretches: tuple[PurgedStretch, ...]

    @property
    def numbers(self) -> Stretches:
        """The same by timeline and number."""
        size = self.segment_bytes
        return joined(
            (Segment.parse(each.first, size), Segment.parse(each.last, size))
            for each in self.stretches
        )


def joined(ranges: Iterable[tuple[Segment, Segment]]) -> Stretches:
    """Ranges that touch or overlap made one."""
    found: dict[int, list[tuple[int, int]]] = {}
    for first, last in sorted(ranges):
        known = found.setdefault(first.timeline, [])
        if known and first.number <= known[-1][1] + 1:
            known[-1] = (known[-1][0], max(known[-1][1], last.number))
        else:
            known.append((first.number, last.number))
    return {timeline: tuple(known) for timeline, known in found.items()}


def covers(stretches: Stretches, timeline: int, first: int, last: int) -> bool:
    """Whether every segment from number ``first`` to ``last`` was let go of."""
    return any(begin <= first and last <= end for begin, end in stretches.get(timeline, ()))


def without(stretches: Stretches, needed: Iterable[tuple[Segment, Segment]]) -> Stretches:
    """The stretches, without the segments of these ranges."""
    wanted = joined(needed)
    found: dict[int, tuple[tuple[int, int], ...]] = {}
    for timeline, ranges in stretches.items():
        left: list[tuple[int, int]] = []
        for begin, end in ranges:
            at = begin
            for first, last in wanted.get(timeline, ()):
                if last < at or first > end:
                    continue
                if first > at:
                    left.append((at, first - 1))
                at = last + 1
            if at <= end:
                left.append((at, end))
        found[timeline] = tuple(left)
    return found
