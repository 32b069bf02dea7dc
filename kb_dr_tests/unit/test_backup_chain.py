"""A chain is followed to its full, or it is said which link of it is none."""

from dataclasses import replace

import pytest

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.manifest import Manifest, StoredManifest, manifest_digest
from kb_dr.domain.proof import Verdict
from kb_dr.domain.verdicts import verdict_of
from kb_dr.errors import BrokenChain, RepositoryUnavailable
from kb_dr.operations import backup_chain
from kb_dr.operations.backup_chain import chain_in, chains_in, load_chain
from kb_dr.operations.catalog import load_catalog, store_manifest
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_chains import Change, store_chain, store_increment
from kb_dr_tests.stored_backups import store_backup

CODEC = PlainCodec()


@pytest.fixture
def repository() -> MemoryRepository:
    return MemoryRepository()


def key(stored: StoredManifest) -> str:
    return layout.manifest_key(stored.manifest.backup_id)


def refused(repository: MemoryRepository, stored: StoredManifest) -> BrokenChain:
    """Both ways of following it refuse, for the same reason."""
    with pytest.raises(BrokenChain) as told:
        load_chain(repository, stored)
    with pytest.raises(BrokenChain) as told_by_catalog:
        chain_in(load_catalog(repository), stored)
    assert str(told.value) == str(told_by_catalog.value)
    assert verdict_of(told.value) is Verdict.FAILED, "the copy of this backup is bad"
    assert chains_in(load_catalog(repository)).broken[stored.manifest.id] == str(told.value)
    return told.value


def test_a_full_is_a_chain_of_one(repository: MemoryRepository) -> None:
    full = store_backup(repository, CODEC)

    assert load_chain(repository, full) == (full,)
    assert chains_in(load_catalog(repository)).broken == {}


def test_a_chain_is_followed_to_its_full_oldest_first(repository: MemoryRepository) -> None:
    chain = store_chain(repository, CODEC, increments=5)
    point = store_increment(repository, CODEC, chain[-1], files=False)

    assert load_chain(repository, point) == (*chain, point)
    assert chain_in(load_catalog(repository), point) == (*chain, point)
    assert chains_in(load_catalog(repository)).broken == {}


def test_every_descendant_of_a_lost_parent_is_broken_and_names_it(
    repository: MemoryRepository,
) -> None:
    full, first, second, third = store_chain(repository, CODEC, increments=3)
    repository.delete(key(first))

    for each in (second, third):
        error = refused(repository, each)
        assert f"its parent {first.manifest.id} is not in primary" in str(error)
        assert each.manifest.id in str(error)
    assert full.manifest.id not in chains_in(load_catalog(repository)).broken


def test_a_parent_that_cannot_be_read_breaks_the_chain(repository: MemoryRepository) -> None:
    full, child = store_chain(repository, CODEC, increments=1)
    repository.bodies[key(full)] = b"{"

    assert f"its parent {full.manifest.id} cannot be read" in str(refused(repository, child))


def test_another_manifest_of_the_parents_id_is_no_parent(repository: MemoryRepository) -> None:
    full, child = store_chain(repository, CODEC, increments=1)
    other = records.to_json(replace(full.manifest, host="another machine"))
    repository.bodies[key(full)] = other

    error = refused(repository, child)

    assert f"{full.manifest.id} has the manifest {manifest_digest(other)[:12]}" in str(error)
    assert full.digest[:12] in str(error)


def test_a_parent_of_another_cluster_is_none_though_the_digest_fits(
    repository: MemoryRepository,
) -> None:
    full = store_backup(repository, CODEC)

    def elsewhere(manifest: Manifest) -> Manifest:
        return replace(manifest, source=replace(manifest.source, system_identifier=7))

    child = store_increment(repository, CODEC, full, change=elsewhere)

    assert "it is of cluster 7300000000000000001, expected 7" in str(refused(repository, child))


def test_a_recovery_point_is_nobodys_parent(repository: MemoryRepository) -> None:
    point = store_increment(repository, CODEC, store_backup(repository, CODEC), files=False)
    child = store_increment(repository, CODEC, point)

    assert "it has no files of its own" in str(refused(repository, child))


def test_a_recovery_point_begins_where_its_parent_does(repository: MemoryRepository) -> None:
    full = store_backup(repository, CODEC)

    def later(manifest: Manifest) -> Manifest:
        return replace(manifest, wal=replace(manifest.wal, start=manifest.wal.start.plus(8)))

    point = store_increment(repository, CODEC, full, files=False, change=later)

    assert "it starts at 0/200028 on timeline 1, expected 0/200030" in str(
        refused(repository, point)
    )


def test_a_parent_begins_no_later_than_its_child(repository: MemoryRepository) -> None:
    full = store_backup(repository, CODEC, start=5, stop=6)
    child = store_increment(repository, CODEC, full, start=4)

    assert "it starts at 0/500028, expected no later than 0/400028" in str(
        refused(repository, child)
    )


@pytest.mark.parametrize(
    "change",
    [lambda made: replace(made, parent=None), lambda made: replace(made, parent_digest=None)],
    ids=["parent", "digest"],
)
def test_an_increment_names_parent_and_digest(repository: MemoryRepository, change: Change) -> None:
    full = store_backup(repository, CODEC)
    child = store_increment(repository, CODEC, full, change=change)

    assert "expected an increment with both" in str(refused(repository, child))


def test_a_full_with_a_parent_is_none(repository: MemoryRepository) -> None:
    full = store_backup(repository, CODEC)
    made = replace(full.manifest, parent="kb-full-20250101-000000", parent_digest="0" * 64)
    repository.delete(key(full))

    assert "or a full with neither" in str(refused(repository, store_manifest(repository, made)))


def test_a_circle_is_refused(repository: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests make one impossible to write; a repository that lies may still show one."""
    _, child, _ = store_chain(repository, CODEC, increments=2)
    own = replace(child.manifest, parent=child.manifest.id)
    repository.bodies[key(child)] = records.to_json(own)
    shown = StoredManifest(own, "0" * 64, "primary")

    assert "is among its own parents" in str(refused(repository, shown))


def test_an_absurdly_long_chain_is_refused(
    repository: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_chain, "MOST_LINKS", 4)
    chain = store_chain(repository, CODEC, increments=4)

    assert len(load_chain(repository, chain[3])) == 4
    assert "4 links and no full" in str(refused(repository, chain[4]))


def test_a_repository_that_does_not_answer_breaks_no_chain(repository: MemoryRepository) -> None:
    full, child = store_chain(repository, CODEC, increments=1)
    repository.failures[key(full)] = RepositoryUnavailable("no answer")

    with pytest.raises(RepositoryUnavailable):
        load_chain(repository, child)


def test_a_parent_that_only_a_newer_version_can_read_says_nothing_of_the_copy(
    repository: MemoryRepository,
) -> None:
    full = store_backup(repository, CODEC)
    newer = records.to_json(replace(full.manifest, schema_version=records.SCHEMA_VERSION + 1))
    repository.bodies[key(full)] = newer
    written = StoredManifest(full.manifest, manifest_digest(newer), "primary")
    child = store_increment(repository, CODEC, written)

    with pytest.raises(BrokenChain) as told:
        load_chain(repository, child)

    assert verdict_of(told.value) is Verdict.NOT_PROVEN
