"""A process that looks every few seconds reads each manifest once, and is not fooled by that."""

from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.stored import Listed
from kb_dr.operations.catalog import CatalogEntry, Unreadable, lean_entry, load_catalog
from kb_dr.operations.known_entries import KnownEntries
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.stored_backups import STARTED, store_backup

CODEC = PlainCodec()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def counting() -> CountingRepository:
    repository = MemoryRepository()
    for number in range(5):
        store_backup(repository, CODEC, started=STARTED + timedelta(hours=number))
    return CountingRepository(repository)


def known(clock: FakeClock, **limits: int) -> KnownEntries[CatalogEntry]:
    return KnownEntries(monotonic=clock.monotonic, **limits)


def memory(counting: CountingRepository) -> MemoryRepository:
    assert isinstance(counting.real, MemoryRepository)
    return counting.real


def test_the_second_look_lists_and_reads_nothing(
    counting: CountingRepository, clock: FakeClock
) -> None:
    kept = known(clock)

    first = load_catalog(counting, kept)
    second = load_catalog(counting, kept)

    assert first == second == load_catalog(memory(counting), shape=lean_entry)
    assert counting.calls["read"] == 5


def test_a_manifest_that_changed_is_read_anew(
    counting: CountingRepository, clock: FakeClock
) -> None:
    kept = known(clock)
    first = load_catalog(counting, kept)[0]
    assert isinstance(first, StoredManifest)
    memory(counting).bodies[layout.manifest_key(first.manifest.backup_id)] = b"damaged"

    assert isinstance(load_catalog(counting, kept)[0], Unreadable)


def test_a_manifest_that_is_gone_is_absent(counting: CountingRepository, clock: FakeClock) -> None:
    kept = known(clock)
    first = load_catalog(counting, kept)[0]
    assert isinstance(first, StoredManifest)
    memory(counting).delete(layout.manifest_key(first.manifest.backup_id))

    assert first not in load_catalog(counting, kept)


def test_what_rots_without_a_trace_is_seen_after_a_quarter_of_an_hour(
    counting: CountingRepository, clock: FakeClock
) -> None:
    kept = known(clock)
    first = load_catalog(counting, kept)[0]
    assert isinstance(first, StoredManifest)
    key = layout.manifest_key(first.manifest.backup_id)
    bodies = memory(counting).bodies
    bodies[key] = b"x" * len(bodies[key])

    clock.pass_time(timedelta(minutes=15))

    assert isinstance(load_catalog(counting, kept)[0], Unreadable)


def test_the_same_key_in_another_place_is_another_object(clock: FakeClock) -> None:
    kept: KnownEntries[str] = KnownEntries(monotonic=clock.monotonic)
    listed = Listed("k", 1, STARTED)
    kept.put("s3://a", listed, "a's")

    assert kept.get("s3://b", listed) is None
    assert kept.get("s3://a", listed) == "a's"


def test_it_does_not_grow_beyond_its_bound(clock: FakeClock) -> None:
    kept: KnownEntries[int] = KnownEntries(monotonic=clock.monotonic, most_bytes=100)
    listed = [Listed(str(number), 30, STARTED) for number in range(50)]
    for number, each in enumerate(listed):
        kept.put("u", each, number)
        kept.put("u", each, number)

    found = [kept.get("u", each) for each in listed]

    assert found == [None] * 47 + [47, 48, 49]
