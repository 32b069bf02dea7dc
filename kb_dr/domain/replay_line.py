"""Which WAL segments replay reads, in order, and where they stop."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_names import Segment


@dataclass(frozen=True, slots=True)
class ReplayLine:
    """Segments that follow one another along one line of timelines."""

    lineage: Lineage
    segments: tuple[Segment, ...]
    missing: Segment
    """The first one that is not there."""
    beyond: int
    """How many stand behind the missing one: if any, the archive has a hole."""


def choose_lineage(
    lineages: Iterable[Lineage], with_wal: Collection[int], timeline: int, stop: Lsn
) -> Lineage | None:
    """The newest line that passes ``stop`` of ``timeline``, and of which WAL stands.

    A timeline is known from its history before its first segment is archived; until then the
    archive reaches farther along its parent. None when not even ``timeline`` itself will do.
    """
    fitting = [
        each
        for each in lineages
        if each.contains(timeline, stop)
        and (each.timeline in with_wal or each.timeline == timeline)
    ]
    return max(fitting, key=lambda each: each.timeline, default=None)


def timeline_of_segment(lineage: Lineage, number: int, segment_bytes: int) -> int:
    """The timeline on which replay has to find a segment.

    Where a timeline left its parent inside a segment, PostgreSQL wrote that segment anew on the
    younger one; the parent's may hold rows of another future.
    Source: PostgreSQL, src/backend/access/transam/xlogrecovery.c (XLogFileReadAnyTLI).
    """
    return next(
        timeline
        for timeline in reversed(lineage.timelines)
        if lineage.begin_of(timeline) // segment_bytes <= number
    )


class WalLine:
    """The segments that stand along one line of timelines, looked through once.

    For any number of walks: each takes a search among them, however many stand behind it.
    """

    def __init__(self, lineage: Lineage, present: Iterable[Segment], segment_bytes: int) -> None:
        self.lineage = lineage
        self.segment_bytes = segment_bytes
        # The youngest timeline that begins at or before a segment is the last of these: see
        # timeline_of_segment(). Ascending, whatever a history says.
        begins = [lineage.begin_of(each) // segment_bytes for each in lineage.timelines]
        self._begins = [min(begins[index:]) for index in range(len(begins))]
        self._timelines = lineage.timelines
        on_line = (
            each
            for each in present
            if each.segment_bytes == segment_bytes and each == self._wanted(each.number)
        )
        self._segments = sorted(on_line, key=lambda each: each.number)
        self._numbers = [each.number for each in self._segments]
        self._ends = [
            index
            for index in range(1, len(self._numbers) + 1)
            if index == len(self._numbers) or self._numbers[index] > self._numbers[index - 1] + 1
        ]
        """Of each stretch without a gap: the index behind its last segment."""

    def last_from(self, first: Segment) -> Segment | None:
        """The last segment a walk from ``first`` comes to; None where not even that one stands."""
        begin, end = self._stretch(first)
        return self._segments[end - 1] if begin < end else None

    def follow(self, first: Segment) -> ReplayLine:
        """Walk from ``first`` as far as segments follow without a gap."""
        begin, end = self._stretch(first)
        found = tuple(self._segments[begin:end])
        return ReplayLine(self.lineage, found, self.missing_from(first), len(self._segments) - end)

    def missing_from(self, first: Segment) -> Segment:
        """The first segment that a walk from ``first`` does not find."""
        last = self.last_from(first)
        if last is not None:
            return self._wanted(last.number + 1)
        timeline = timeline_of_segment(self.lineage, first.number, first.segment_bytes)
        return first.on(timeline)

    def _stretch(self, first: Segment) -> tuple[int, int]:
        """Where a walk from ``first`` begins and ends; the same twice where it does not stand."""
        if first.segment_bytes != self.segment_bytes:
            return len(self._segments), len(self._segments)
        begin = bisect_left(self._numbers, first.number)
        if begin == len(self._numbers) or self._numbers[begin] != first.number:
            return begin, begin
        return begin, self._ends[bisect_right(self._ends, begin)]

    def _wanted(self, number: int) -> Segment:
        timeline = self._timelines[bisect_right(self._begins, number) - 1]
        return Segment(timeline, number, self.segment_bytes)


def follow(lineage: Lineage, first: Segment, present: Iterable[Segment]) -> ReplayLine:
    """Walk from ``first`` as far as segments follow without a gap, once."""
    return WalLine(lineage, present, first.segment_bytes).follow(first)
