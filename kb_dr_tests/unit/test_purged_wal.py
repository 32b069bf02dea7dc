"""What a repository has let go of: noted before it goes, there alone, and never forgotten."""

from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.layout import MARKER
from kb_dr.domain.purged_wal import without
from kb_dr.domain.retention import WalRange
from kb_dr.domain.wal_archive import WalProblemKind
from kb_dr.operations.audit_wal import audit_wal
from kb_dr.operations.copy_wal import copy_wal
from kb_dr.operations.purged_wal import inherit_purged_wal, load_purged_wal, note_purged_wal
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment, store_backup, store_segments


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


def _gaps(repository: MemoryRepository) -> list[str]:
    found = audit_wal(repository, system_identifier=SYSTEM, segment_bytes=SEGMENT_BYTES)
    return [each.name for each in found.archive.problems if each.kind is WalProblemKind.GAP]


def test_wal_that_a_standing_backup_needs_is_a_gap_whatever_was_noted() -> None:
    """It was lost before the WAL around it went, or the backup was brought here after that."""
    repository, codec = MemoryRepository(), PlainCodec()
    repository.put(MARKER, b"{}")
    store_backup(repository, codec, start=6, stop=7)
    (before,) = store_segments(repository, codec, 2, 2)
    store_segments(repository, codec, 12, 14)
    _note(repository, FakeClock(), _range(3, 11))
    assert _gaps(repository) == []
    for key in [key for key in repository.bodies if segment(6).name in key]:
        repository.delete(key)
    assert _gaps(repository) == [segment(3).name]
    for key in [key for key in repository.bodies if segment(7).name in key]:
        repository.delete(key)

    assert before in repository.bodies
    assert _gaps(repository) == [segment(3).name]


def test_what_is_needed_is_cut_out_of_what_went() -> None:
    went = {1: ((2, 9), (20, 29)), 2: ((5, 6),)}
    needed = [(segment(1), segment(2)), (segment(4), segment(5)), (segment(9), segment(22))]

    assert without(went, needed) == {1: ((3, 3), (6, 8), (23, 29)), 2: ((5, 6),)}
    assert without(went, []) == went
