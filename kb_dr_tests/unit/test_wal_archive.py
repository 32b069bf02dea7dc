"""A listing alone shows gaps, conflicts, empty objects and missing histories."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.timelines import Branch, Lineage
from kb_dr.domain.wal_archive import ArchiveListing, WalArchive, WalProblemKind
from kb_dr.domain.wal_names import DEFAULT_SEGMENT_BYTES, Segment


def segment(number: int, timeline: int = 1) -> Segment:
    return Segment(timeline, number, DEFAULT_SEGMENT_BYTES)


def archive(
    *numbers: int,
    branches: dict[int, list[int]] | None = None,
    lineages: list[Lineage] | None = None,
) -> WalArchive:
    listing = ArchiveListing(DEFAULT_SEGMENT_BYTES)
    for number in numbers:
        listing.add(segment(number).name, "a" * 64, 100)
    for timeline, later in (branches or {}).items():
        listing.add(f"{timeline:08X}.history", "b" * 64, 100)
        for number in later:
            listing.add(segment(number, timeline).name, "a" * 64, 100)
    return listing.finish(lineages or [])


def problems(found: WalArchive) -> list[tuple[WalProblemKind, str]]:
    return [(each.kind, each.name) for each in found.problems]


SECOND = Lineage(2, (Branch(1, Lsn(5 * DEFAULT_SEGMENT_BYTES + 99)),))


def test_a_contiguous_archive_has_no_problem_also_where_names_roll_over() -> None:
    found = archive(*range(250, 520))

    assert found.problems == ()
    assert found.segments == 270
    assert found.contiguous_end(segment(300)) == segment(519)


def test_a_gap_is_named_and_ends_what_can_be_replayed() -> None:
    found = archive(1, 2, 5, 6)

    assert problems(found) == [(WalProblemKind.GAP, segment(3).name)]
    assert "2 segments missing" in found.problems[0].detail
    assert found.contiguous_end(segment(1)) == segment(2)
    assert found.contiguous_end(segment(3)) is None
    assert found.holds(segment(5))
    assert not found.holds(segment(4))


def test_two_digests_and_zero_bytes_are_problems() -> None:
    listing = ArchiveListing(DEFAULT_SEGMENT_BYTES)
    listing.add(segment(1).name, "a" * 64, 100)
    listing.add(segment(1).name, "b" * 64, 100)
    listing.add(segment(2).name, "a" * 64, 0)

    assert problems(listing.finish()) == [
        (WalProblemKind.TWO_DIGESTS, segment(1).name),
        (WalProblemKind.ZERO_BYTES, segment(2).name),
    ]


@pytest.mark.parametrize("numbers", [range(1, 9), (5,)])
def test_what_cannot_be_replayed_ends_what_can_and_is_no_gap(numbers: Sequence[int]) -> None:
    empty, twice = ArchiveListing(DEFAULT_SEGMENT_BYTES), ArchiveListing(DEFAULT_SEGMENT_BYTES)
    for number in numbers:
        empty.add(segment(number).name, "a" * 64, 0 if number == 5 else 100)
        for digest in "abc" if number == 5 else "a":
            twice.add(segment(number).name, digest * 64, 100)
    kinds = {WalProblemKind.ZERO_BYTES, WalProblemKind.TWO_DIGESTS}

    for found in (empty.finish(), twice.finish()):
        assert {each.kind for each in found.problems} <= kinds
        assert not found.holds(segment(5))
        assert found.timelines[1].newest_unusable == segment(5)
        for number in numbers:
            expected = segment(4) if number < 5 else None if number == 5 else segment(8)
            assert found.contiguous_end(segment(number)) == expected


def test_where_a_timeline_was_left_a_bad_segment_is_no_gap_either() -> None:
    listing = ArchiveListing(DEFAULT_SEGMENT_BYTES)
    for number in (3, 4):
        listing.add(segment(number).name, "a" * 64, 100 * (number != 4))
    listing.add("00000002.history", "b" * 64, 100)
    for number in (5, 6):
        listing.add(segment(number, 2).name, "a" * 64, 100 * (number != 5))
    found = listing.finish([SECOND])

    assert {each.kind for each in found.problems} == {WalProblemKind.ZERO_BYTES}
    assert found.contiguous_end(segment(3), SECOND) == segment(3)


def test_of_very_many_bad_segments_none_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb_dr.domain.wal_archive.MOST_RUNS", 2)
    listing = ArchiveListing(DEFAULT_SEGMENT_BYTES)
    for number in range(20):
        listing.add(segment(number).name, "a" * 64, 0 if number in (3, 6, 9) else 100)
    found = listing.finish()

    assert found.contiguous_end(segment(1)) is None, "what stands so far back is not told apart"
    assert found.contiguous_end(segment(7)) == segment(8)
    assert found.contiguous_end(segment(10)) == segment(19)


def test_a_name_that_cannot_be_with_this_segment_size_is_stray() -> None:
    listing = ArchiveListing(1024 * DEFAULT_SEGMENT_BYTES // 16)
    listing.add("0000000100000000000000FF", "a" * 64, 100)

    assert problems(listing.finish()) == [(WalProblemKind.STRAY, "0000000100000000000000FF")]


def test_segments_of_a_timeline_without_history_are_a_problem() -> None:
    listing = ArchiveListing(DEFAULT_SEGMENT_BYTES)
    listing.add(segment(5, 2).name, "a" * 64, 100)

    assert problems(listing.finish()) == [(WalProblemKind.MISSING_HISTORY, "00000002.history")]


def test_replay_goes_over_to_the_younger_timeline_in_the_segment_it_left() -> None:
    found = archive(3, 4, 5, 6, 7, branches={2: [5, 6]}, lineages=[SECOND])

    assert found.problems == ()
    assert found.contiguous_end(segment(3), SECOND) == segment(6, 2)
    assert found.contiguous_end(segment(3), Lineage(1)) == segment(7)
    assert found.segment_along(4, segment(3), SECOND) == segment(4)
    assert found.segment_along(5, segment(3), SECOND) == segment(5, 2)


def test_gaps_where_a_timeline_left_its_parent_are_found() -> None:
    late = archive(3, 4, branches={2: [6]}, lineages=[SECOND])
    early = archive(3, branches={2: [5]}, lineages=[SECOND])

    assert problems(late) == [(WalProblemKind.GAP, segment(5, 2).name)]
    assert problems(early) == [(WalProblemKind.GAP, segment(4).name)]
    assert early.contiguous_end(segment(3), SECOND) == segment(3)


def test_only_so_many_problems_are_named_and_the_rest_is_counted() -> None:
    listing = ArchiveListing(DEFAULT_SEGMENT_BYTES, most_problems=3)
    for number in range(0, 20, 2):
        listing.add(segment(number).name, "a" * 64, 100)
    found = listing.finish()

    assert len(found.problems) == 3
    assert found.more_problems == 6


_MILLION = """
import resource
from kb_dr.domain.wal_archive import ArchiveListing
listing = ArchiveListing(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number in range(1_000_000):
    if number % 1000 != 7:
        listing.add(f"00000001{number >> 8:08X}{number & 255:08X}", "%064x" % number, 100)
found = listing.finish()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(found.segments, len(found.problems), after - before)
"""


def test_a_million_segments_are_walked_in_memory_that_does_not_grow_with_them() -> None:
    """A million names as text alone would be 120 MB."""
    run = subprocess.run(
        [sys.executable, "-c", _MILLION], capture_output=True, text=True, check=True
    )
    segments, gaps, grown_kib = map(int, run.stdout.split())

    assert segments == 999_000
    assert gaps == 1000
    assert grown_kib < 20 * 1024
