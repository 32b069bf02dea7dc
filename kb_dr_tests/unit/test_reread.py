"""All bytes are read again each month, also when a day is missed."""

from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain.reread import SLICES, due_slices, slice_of, unread_since
from kb_dr.operations.catalog import load_catalog
from kb_dr.operations.copy_look import objects_in
from kb_dr.operations.reread_copy import reread_copy
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.stored_backups import store_backup

NOW = datetime(2026, 11, 27, 5, tzinfo=UTC)
DAY = timedelta(days=1)
ALL = range(SLICES)
CODEC = PlainCodec()


def run(days: list[int]) -> dict[int, datetime]:
    """A report on each of these days."""
    last_read: dict[int, datetime] = {}
    for day in days:
        now = NOW + day * DAY
        last_read |= dict.fromkeys(due_slices(last_read, now), now)
    return last_read


def test_a_month_of_reports_reads_everything_once() -> None:
    assert len(due_slices({}, NOW)) == 1
    assert unread_since(run(list(range(SLICES - 1)))) is None
    assert unread_since(run(list(range(SLICES)))) == NOW


def test_each_day_reads_what_was_read_the_longest_ago() -> None:
    last_read = run(list(range(90)))

    oldest = unread_since(last_read)
    assert oldest is not None
    assert NOW + 89 * DAY - oldest == 29 * DAY


def test_what_was_missed_is_read_by_the_next() -> None:
    days = [*range(30), 37, *range(38, 60)]
    last_read = run(days[:31])

    assert sum(at == NOW + 37 * DAY for at in last_read.values()) == 8
    oldest = unread_since(last_read)
    assert oldest is not None
    assert NOW + 37 * DAY - oldest <= 30 * DAY


def test_after_a_month_without_all_is_due_and_no_more() -> None:
    assert len(due_slices(run(list(range(30))), NOW + 100 * DAY)) == SLICES


def test_two_reports_in_an_hour_do_not_read_twice() -> None:
    last_read = run([0])

    assert due_slices(last_read, NOW + timedelta(hours=1)) == ()
    assert len(due_slices(last_read, NOW + timedelta(hours=23))) == 1


def test_a_report_from_the_future_has_read_nothing() -> None:
    last_read = run(list(range(30))) | dict.fromkeys(range(30), NOW + 400 * DAY)

    assert due_slices(last_read, NOW + 31 * DAY) == (0,)


@pytest.fixture
def copy() -> MemoryRepository:
    repository = MemoryRepository()
    store_backup(repository, CODEC)
    return repository


def read(copy: MemoryRepository, slices: range) -> tuple[int, tuple[str, ...]]:
    done = reread_copy(
        copy, CODEC, objects_in(load_catalog(copy), slices), slices, SilentProgress()
    )
    return done.objects, done.damaged


def test_the_slices_together_are_everything_once(copy: MemoryRepository) -> None:
    # Three chunks, PostgreSQL's manifest, two segments.
    assert read(copy, ALL) == (6, ())
    assert sum(read(copy, range(number, number + 1))[0] for number in ALL) == 6


@pytest.mark.parametrize("kind", ["base.tar", "backup_manifest", "wal/"])
def test_one_flipped_byte_is_found_by_its_slice(copy: MemoryRepository, kind: str) -> None:
    key = next(key for key in sorted(copy.bodies) if kind in key)
    body = copy.bodies[key]
    copy.bodies[key] = body[:-1] + bytes([body[-1] ^ 1])

    _, damaged = read(copy, range(slice_of(key), slice_of(key) + 1))

    assert len(damaged) == 1
    assert key in damaged[0]
    _, elsewhere = read(copy, range(slice_of(key) + 1, SLICES))
    assert elsewhere == ()


def test_a_chunk_that_is_gone_is_damage(copy: MemoryRepository) -> None:
    key = next(key for key in sorted(copy.bodies) if "base.tar" in key)
    catalog = load_catalog(copy)
    copy.delete(key)

    done = reread_copy(copy, CODEC, objects_in(catalog, ALL), ALL, SilentProgress())

    assert len(done.damaged) == 1


def test_what_retention_took_meanwhile_is_none(copy: MemoryRepository) -> None:
    catalog = load_catalog(copy)
    for key in [key for key in copy.bodies if key.startswith("full/")]:
        copy.delete(key)

    done = reread_copy(copy, CODEC, objects_in(catalog, ALL), ALL, SilentProgress())

    assert (done.objects, done.damaged) == (2, ())
