"""Where replay stops along a line of timelines, and that asking for many backups costs little."""

from random import Random

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.replay_line import ReplayLine, WalLine, follow, timeline_of_segment
from kb_dr.domain.timelines import Branch, Lineage
from kb_dr.domain.wal_names import Segment

SIZE = 1024 * 1024


def segment(number: int, timeline: int = 1) -> Segment:
    return Segment(timeline, number, SIZE)


def walked(lineage: Lineage, first: Segment, present: set[Segment]) -> ReplayLine:
    """The same, one segment after the other, as PostgreSQL asks for them."""

    def wanted(number: int) -> Segment:
        timeline = timeline_of_segment(lineage, number, first.segment_bytes)
        return Segment(timeline, number, first.segment_bytes)

    found = []
    at = wanted(first.number)
    while at in present:
        found.append(at)
        at = wanted(at.number + 1)
    beyond = sum(1 for each in present if each.number > at.number and each == wanted(each.number))
    return ReplayLine(lineage, tuple(found), at, beyond)


@pytest.mark.parametrize("seed", range(200))
def test_every_walk_along_a_line_finds_what_one_segment_after_the_other_does(seed: int) -> None:
    random = Random(seed)
    ends = sorted(random.randrange(30 * SIZE) for _ in range(random.randrange(4)))
    branches = tuple(Branch(number, Lsn(end)) for number, end in enumerate(ends, 1))
    lineage = Lineage(len(branches) + 1, branches)
    present = {
        segment(number, timeline)
        for number in range(30)
        for timeline in range(1, 7)
        if random.random() < 0.9
    }
    line = WalLine(lineage, present, SIZE)

    for number in range(32):
        first = segment(number)
        expected = walked(lineage, first, present)
        assert line.follow(first) == expected == follow(lineage, first, present)
        assert line.missing_from(first) == expected.missing
        assert line.last_from(first) == (expected.segments[-1] if expected.segments else None)


def test_segments_of_another_size_are_not_on_the_line() -> None:
    line = WalLine(Lineage(1), {segment(1), Segment(1, 2, 2 * SIZE)}, SIZE)

    assert line.follow(segment(1)).missing == segment(2)
    other = line.follow(Segment(1, 1, 2 * SIZE))
    assert (other.segments, other.missing) == ((), Segment(1, 1, 2 * SIZE))
    assert other.beyond == 0
