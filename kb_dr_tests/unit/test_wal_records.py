"""The end of WAL and the newest commit are found exactly, and damage is never passed over."""

from datetime import UTC, datetime

import pytest

from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import WalReader, WalTip
from kb_dr.errors import WalDamaged
from kb_dr_tests.made_wal import SEGMENT_BYTES, WalWriter

AT = datetime(2026, 11, 20, 2, 0, 0, 123456, tzinfo=UTC)
LATER = datetime(2026, 11, 20, 3, tzinfo=UTC)


def writer() -> WalWriter:
    return WalWriter(Segment(1, 3, SEGMENT_BYTES))


def read(made: WalWriter, *, skip: int = 0) -> WalReader:
    reader = WalReader()
    for name, content in list(made.segments().items())[skip:]:
        reader.feed(name, content)
    return reader


def tip(made: WalWriter, *, skip: int = 0) -> WalTip:
    found = read(made, skip=skip).tip()
    assert found is not None
    return found


def test_the_end_is_that_of_the_last_record() -> None:
    made = writer()
    made.record()
    end = made.record(b"y" * 20_000)

    found = read(made)

    assert found.ended
    assert found.tip() == WalTip(tip(made).end, 1, None, None, ())
    assert tip(made).end == end


def test_a_record_may_span_many_segments() -> None:
    made = writer()
    made.commit(AT)
    end = made.record(b"z" * (3 * SEGMENT_BYTES))

    assert tip(made).end == end


def test_a_record_cut_off_by_the_end_of_the_archive_does_not_count() -> None:
    made = writer()
    before = made.commit(AT)
    made.record(b"z" * (3 * SEGMENT_BYTES))
    segments = list(made.segments().items())
    reader = WalReader()
    for name, content in segments[:-1]:
        reader.feed(name, content)

    found = reader.tip()

    assert found is not None
    assert found.end == before
    assert not reader.ended, "the archive just has no more"


def test_reading_may_start_in_the_middle_of_a_record() -> None:
    made = writer()
    made.record(b"z" * (2 * SEGMENT_BYTES))
    end = made.commit(AT)

    assert read(made, skip=1).tip() == tip(made)
    assert tip(made, skip=2).end == end


def test_a_switch_reaches_to_the_end_of_its_segment() -> None:
    made = writer()
    made.record()
    end = made.switch()

    assert tip(made).end == end == 4 * SEGMENT_BYTES

    made.record()
    assert tip(made).end == 4 * SEGMENT_BYTES + 40 + 128


def test_the_newest_commit_and_the_restore_points_are_found() -> None:
    made = writer()
    first = made.commit(AT)
    point = made.restore_point("kb-full-20261120-020000", AT)
    second = made.commit(LATER)
    aborted = made.record(b"\0" * 8, rmid=1, info=0xA0)
    made.record()

    found = tip(made)

    assert found.last_commit is not None
    assert (found.last_commit.lsn, found.last_commit.at) == (second, LATER)
    assert found.last_transaction is not None
    assert found.last_transaction.lsn == aborted
    assert [(each.name, each.lsn, each.at) for each in found.restore_points] == [
        ("kb-full-20261120-020000", point, AT)
    ]
    assert first < point < second


def test_a_flipped_bit_ends_the_wal_there() -> None:
    made = writer()
    before = made.commit(AT)
    made.record(b"a" * 200)
    made.record()
    made.written[before - made.first.start + 60] ^= 1

    assert tip(made).end == before


@pytest.mark.parametrize("offset", [0, 8])
def test_a_broken_page_ends_the_wal_before_it(offset: int) -> None:
    made = writer()
    made.fill(1)
    whole = tip(made).end
    made.written[5 * 8192 + offset] ^= 0xFF

    reader = WalReader()
    reader.feed(*next(iter(made.segments().items())))
    found = reader.tip()

    assert reader.ended
    assert found is not None
    assert found.end < made.first.start + 5 * 8192 < whole


def test_wal_that_goes_on_behind_its_end_is_damage() -> None:
    made = writer()
    made.fill(2)
    made.written[SEGMENT_BYTES // 2] ^= 0xFF

    with pytest.raises(WalDamaged, match="but segment 000000010000000000000004 follows"):
        read(made)


def test_a_missing_segment_is_damage() -> None:
    made = writer()
    made.fill(3)
    segments = list(made.segments().items())
    reader = WalReader()
    reader.feed(*segments[0])

    with pytest.raises(WalDamaged, match="expected 0/400000"):
        reader.feed(*segments[2])


def test_every_cut_is_found_exactly() -> None:
    """Whatever is cut off, the end is that of the last record left whole."""
    made = writer()
    ends = [made.record(b"c" * (50 + 701 * number % 20_000)) for number in range(60)]
    content = made.segments()
    name, whole = next(iter(content.items()))
    for position in range(200, len(made.written), 7919):
        cut = whole[:position] + bytes(len(whole) - position)
        reader = WalReader()
        reader.feed(name, cut)
        found = reader.tip()
        expected = [end for end in ends if end <= made.first.start + position]
        # A record whose last bytes are zeros anyway may survive the cut.
        assert found is not None
        assert found.end in ends
        assert found.end >= expected[-1]
        assert found.end <= made.first.start + position + 8


def test_wal_of_another_past_is_not_taken_for_what_follows() -> None:
    """Two servers went on from one segment: each record names where the one before began."""
    ours, theirs = writer(), writer()
    ours.record()
    end = ours.switch()
    ours.record()
    theirs.record(b"t" * 500)
    theirs.switch()
    theirs.record()
    reader = WalReader()
    reader.feed(*next(iter(ours.segments().items())))
    reader.feed(*list(theirs.segments().items())[1])

    found = reader.tip()

    assert reader.ended
    assert found is not None
    assert found.end == end
