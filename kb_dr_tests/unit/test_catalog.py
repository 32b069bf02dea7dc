"""The catalog shows every backup there is, and hides none that cannot be read."""

from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import manifest_digest
from kb_dr.errors import (
    NoUsableBackup,
    ObjectConflict,
    RepositoryUnavailable,
    UnreadableRecord,
    WrongRepository,
)
from kb_dr.operations import listed_backups as listed_module
from kb_dr.operations.catalog import (
    load_catalog,
    newest_backup,
    read_manifest,
    readable,
    store_manifest,
    unreadable,
)
from kb_dr.operations.initialise import check_marker, init_repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.stored_backups import STARTED, store_backup, store_objects


def test_a_backup_is_read_back_as_it_was_stored() -> None:
    repository = MemoryRepository()

    stored = store_backup(repository, PlainCodec())

    assert read_manifest(repository, stored.manifest.backup_id) == stored
    body = repository.bodies[layout.manifest_key(stored.manifest.backup_id)]
    assert stored.digest == manifest_digest(body)


def test_chunks_without_a_manifest_are_no_backup() -> None:
    repository = MemoryRepository()

    manifest = store_objects(repository)

    assert load_catalog(repository) == ()
    with pytest.raises(NoUsableBackup):
        read_manifest(repository, manifest.backup_id)


@pytest.mark.parametrize("skip_after", [1, 2, 1000])
def test_backups_come_in_order_of_time_however_many_chunks_they_have(
    monkeypatch: pytest.MonkeyPatch, skip_after: int
) -> None:
    monkeypatch.setattr(listed_module, "_SKIP_AFTER", skip_after)
    repository, codec = MemoryRepository(), PlainCodec()
    for day in (2, 0, 1):
        store_backup(repository, codec, started=STARTED + timedelta(days=day), chunks=5)
    repository.put("full/strange/thing", b"")

    found = readable(load_catalog(repository))

    assert [each.manifest.started for each in found] == [
        STARTED + timedelta(days=day) for day in range(3)
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: body[:-20],
        lambda body: body.replace(b'"schema_version": 1', b'"schema_version": 2'),
        lambda body: body.replace(b"kb-full-20261121-020000", b"kb-full-20261120-020000"),
        lambda body: body.replace(b'"plain_sha256"', b'"plain_sha257"'),
    ],
    ids=["empty", "cut off", "newer schema", "of another backup", "a field missing"],
)
def test_a_manifest_that_cannot_be_read_is_named_and_hides_no_other(damage) -> None:  # type: ignore[no-untyped-def] # a table of lambdas
    repository, codec = MemoryRepository(), PlainCodec()
    for day in range(3):
        store_backup(repository, codec, started=STARTED + timedelta(days=day))
    bad = BackupId.parse("kb-full-20261121-020000")
    key = layout.manifest_key(bad)
    repository.bodies[key] = damage(repository.bodies[key])

    catalog = load_catalog(repository)

    assert [each.key for each in unreadable(catalog)] == [key]
    assert [each.manifest.id for each in readable(catalog)] == [
        "kb-full-20261120-020000",
        "kb-full-20261122-020000",
    ]
    with pytest.raises(UnreadableRecord):
        read_manifest(repository, bad)


def test_the_newest_backup_is_the_newest_also_when_it_cannot_be_read() -> None:
    repository, codec = MemoryRepository(), PlainCodec()
    with pytest.raises(NoUsableBackup):
        newest_backup(repository)
    store_backup(repository, codec)
    last = store_backup(repository, codec, started=STARTED + timedelta(days=1)).manifest.backup_id
    assert newest_backup(repository) == last

    repository.bodies[layout.manifest_key(last)] = b"damaged"

    assert newest_backup(repository) == last


def test_a_listing_that_fails_is_no_empty_catalog() -> None:
    repository = MemoryRepository()
    repository.failures[""] = RepositoryUnavailable("list: down")

    with pytest.raises(RepositoryUnavailable):
        load_catalog(repository)


def test_another_backup_never_takes_the_place_of_one() -> None:
    repository, codec = MemoryRepository(), PlainCodec()
    first = store_backup(repository, codec)

    with pytest.raises(ObjectConflict):
        store_manifest(repository, store_objects(repository, attempt="a2"))

    assert read_manifest(repository, first.manifest.backup_id) == first


def test_a_repository_knows_whose_it_is() -> None:
    repository = MemoryRepository()

    made = init_repository(repository, FakeClock(), service="kb", org="default")

    assert init_repository(repository, FakeClock(), service="kb", org="default") == made
    assert check_marker(repository, service="kb", org="default") == made
    with pytest.raises(WrongRepository, match="belongs to service 'kb'"):
        check_marker(repository, service="other", org="default")
    with pytest.raises(WrongRepository):
        init_repository(repository, FakeClock(), service="kb", org="other")


def test_an_empty_place_is_never_taken_for_a_repository_without_backups() -> None:
    with pytest.raises(WrongRepository, match=r"no repository\.json"):
        check_marker(MemoryRepository(), service="kb", org="default")


def test_dumps_in_files_of_their_own_keep_no_place_from_becoming_a_repository() -> None:
    repository = MemoryRepository()
    for name in ("kb-backup-20261120-020000.sql.gz", "kb-backup-20261120-020000.dir/toc.dat"):
        repository.put(name, b"x")

    init_repository(repository, FakeClock(), service="kb", org="default")

    other = MemoryRepository()
    other.put("kb-backup-20261120-020000.sql.gz", b"x")
    other.put("wal/7/00000001/x", b"x")
    with pytest.raises(WrongRepository, match="not empty"):
        init_repository(other, FakeClock(), service="kb", org="default")


def test_a_place_that_lost_its_marker_is_not_made_a_new_repository() -> None:
    repository = MemoryRepository()
    store_backup(repository, PlainCodec())

    with pytest.raises(WrongRepository, match="not empty"):
        init_repository(repository, FakeClock(), service="kb", org="default")
    assert layout.MARKER not in repository.bodies
