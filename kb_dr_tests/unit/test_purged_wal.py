"""What a repository has let go of: noted before it goes, there alone, and never forgotten."""

from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.retention import WalRange
from kb_dr.operations.copy_wal import copy_wal
from kb_dr.operations.purged_wal import inherit_purged_wal, load_purged_wal, note_purged_wal
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment, store_segments


def _range(first: int, last: int) -> WalRange:
    return WalRange(SYSTEM, 1, segment(first).name, segment(last).name, last - first + 1, 0)


def _note(repository: MemoryRepository, clock: FakeClock, *ranges: WalRange) -> None:
    note_purged_wal(repository, clock, ranges, {SYSTEM: SEGMENT_BYTES})


def test_each_record_says_all_and_ranges_that_touch_are_one() -> None:
    repository, clock = MemoryRepository(), FakeClock()
    _note(repository, clock, _range(4, 6), _range(10, 11))
    clock.set(clock.now() - timedelta(days=1))  # a clock that was set back
    for first in range(12, 20):
        _note(repository, clock, _range(first, first))
    _note(repository, clock, _range(4, 5))  # said before: no record

    assert load_purged_wal(repository, SYSTEM) == {1: ((4, 6), (10, 19))}
    assert len(list(repository.list(layout.purged_wal_prefix(SYSTEM)))) == 9
    assert load_purged_wal(repository, SYSTEM + 1) == {}


def test_two_runs_at_once_lose_nothing() -> None:
    repository, clock = MemoryRepository(), FakeClock()
    _note(repository, clock, _range(4, 6))
    one = dict(repository.bodies)
    _note(repository, clock, _range(8, 9))
    other = MemoryRepository()
    other.bodies.update(one)
    _note(other, clock, _range(12, 13))
    repository.bodies.update(other.bodies)

    assert load_purged_wal(repository, SYSTEM) == {1: ((4, 6), (8, 9), (12, 13))}


def test_a_new_copy_learns_what_could_never_be_brought_to_it() -> None:
    primary, offsite, codec = MemoryRepository(), MemoryRepository("offsite"), PlainCodec()
    store_segments(primary, codec, 2, 3)
    store_segments(primary, codec, 9, 10)
    _note(primary, FakeClock(), _range(4, 8))
    copy_wal(primary, offsite, codec, SYSTEM, RecordingProgress())
    copy_wal(primary, offsite, codec, SYSTEM, RecordingProgress())

    assert load_purged_wal(offsite, SYSTEM) == {1: ((4, 8),)}
    assert len(list(offsite.list(layout.purged_wal_prefix(SYSTEM)))) == 1


def test_what_was_brought_and_is_lost_is_a_gap() -> None:
    primary, offsite, codec = MemoryRepository(), MemoryRepository("offsite"), PlainCodec()
    (lost,) = store_segments(offsite, codec, 4, 4)
    store_segments(offsite, codec, 5, 8)
    offsite.delete(lost)
    _note(primary, FakeClock(), _range(4, 8))
    inherit_purged_wal(primary, offsite, SYSTEM)

    assert load_purged_wal(offsite, SYSTEM) == {}
