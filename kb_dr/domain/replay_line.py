"""Which WAL segments replay reads, in order, and where they stop."""

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


def follow(lineage: Lineage, first: Segment, present: Collection[Segment]) -> ReplayLine:
    """Walk from ``first`` as far as segments follow without a gap."""

    def wanted(number: int) -> Segment:
        timeline = timeline_of_segment(lineage, number, first.segment_bytes)
        return Segment(timeline, number, first.segment_bytes)

    found: list[Segment] = []
    segment = wanted(first.number)
    while segment in present:
        found.append(segment)
        segment = wanted(segment.number + 1)
    beyond = sum(
        1 for each in present if each.number > segment.number and each == wanted(each.number)
    )
    return ReplayLine(lineage, tuple(found), segment, beyond)
