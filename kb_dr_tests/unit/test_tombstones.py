"""Tombstones: kept first where it happens, read by time, and over when purged."""

from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.tombstone import PurgeStep, Tombstone
from kb_dr.errors import RepositoryUnavailable, UnreadableRecord
from kb_dr.operations.tombstones import (
    expired_in,
    load_tombstones,
    may_be_open,
    open_tombstones,
    read_steps,
    store_tombstone,
)
from kb_dr_tests.fakes import FakeClock, MemoryRepository

BACKUP = BackupId.parse("kb-full-20261120-020000")


def _store(
    step: PurgeStep,
    place: MemoryRepository,
    others: tuple[MemoryRepository, ...] = (),
    clock: FakeClock | None = None,
) -> Tombstone:
    return store_tombstone(
        place,
        others,
        clock or FakeClock(),
        BACKUP,
        step,
        reason="older than every tier",
        digest="d" * 64,
        manifest="{}" if step is PurgeStep.EXPIRED else "",
        older=read_steps(place, BACKUP, place.name),
    )


def test_a_step_is_read_back_from_the_copy_it_happened_in_and_from_the_others() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    made = _store(PurgeStep.EXPIRED, primary, (offsite,))

    assert read_steps(primary, BACKUP, "primary") == [made]
    assert read_steps(offsite, BACKUP, "primary") == [made]
    assert load_tombstones(offsite)[str(BACKUP)][0].step is PurgeStep.EXPIRED
    assert expired_in(load_tombstones(offsite), "offsite") == {}
    assert set(expired_in(load_tombstones(offsite), "primary")) == {str(BACKUP)}


def test_a_copy_that_does_not_answer_keeps_no_step_from_being_made() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    offsite.failures[""] = RepositoryUnavailable("down")
    _store(PurgeStep.EXPIRED, primary, (offsite,))

    assert set(load_tombstones(primary)) == {str(BACKUP)}


def test_a_step_that_cannot_be_kept_where_it_happens_is_none() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    primary.failures[""] = RepositoryUnavailable("down")

    with pytest.raises(RepositoryUnavailable):
        store_tombstone(
            primary, (offsite,), FakeClock(), BACKUP, PurgeStep.EXPIRED, reason="r", digest="d"
        )
    assert not offsite.bodies


def test_a_later_step_is_later_whatever_the_clocks_say() -> None:
    primary, clock = MemoryRepository("primary"), FakeClock()
    _store(PurgeStep.EXPIRED, primary, clock=clock)
    clock.set(clock.now() - timedelta(days=3))
    _store(PurgeStep.UNDELETED, primary, clock=clock)

    assert expired_in(load_tombstones(primary), "primary") == {}
    (there,) = open_tombstones(primary)
    assert [each.step for each in there.steps] == [PurgeStep.EXPIRED, PurgeStep.UNDELETED]


def test_what_is_purged_is_open_no_more_and_its_records_are_not_even_read() -> None:
    primary, clock = MemoryRepository("primary"), FakeClock()
    _store(PurgeStep.EXPIRED, primary, clock=clock)
    assert [each.backup_id for each in open_tombstones(primary)] == [str(BACKUP)]
    assert may_be_open(primary) == {str(BACKUP)}
    clock.pass_time(timedelta(days=8))
    _store(PurgeStep.PURGED, primary, clock=clock)
    for key in primary.bodies:
        primary.failures[key] = RepositoryUnavailable("asked for what is over")

    assert list(open_tombstones(primary)) == []
    assert may_be_open(primary) == set()


def test_the_steps_of_another_copy_open_nothing_here() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    _store(PurgeStep.EXPIRED, primary, (offsite,))

    assert list(open_tombstones(offsite)) == []
    assert may_be_open(offsite) == {str(BACKUP)}


def test_a_step_that_cannot_be_read_is_not_passed_over() -> None:
    primary = MemoryRepository("primary")
    made = _store(PurgeStep.EXPIRED, primary)
    primary.bodies[layout.tombstone_key(BACKUP, "primary", made.id)] = b"{"

    with pytest.raises(UnreadableRecord):
        load_tombstones(primary)
    with pytest.raises(UnreadableRecord):
        list(open_tombstones(primary))
