"""A verb over all backups reads each manifest once, and holds no more of it than it needs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr import records
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain.fingerprint import SampledRow, TableFingerprint
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.errors import NoUsableBackup, RepositoryError
from kb_dr.operations.catalog import store_manifest, whole
from kb_dr.operations.lean_manifest import LEAN_BYTES, lean
from kb_dr.operations.plan_copy_retention import plan_copy_retention
from kb_dr_tests.counted_look import counted_look
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import store_objects

BACKUPS = 9


def reads(directory: Path, look: Callable[[MadeInstallation], object]) -> Counter[tuple[str, str]]:
    """How often a look reads each manifest and each proof, by copy and key."""
    return Counter(
        (copy, key)
        for copy, each in counted_look(directory, BACKUPS, look).items()
        for key in each.read_keys
        if key.startswith("proofs/") or key.endswith("/manifest.json")
    )


def plan_retention(made: MadeInstallation) -> object:
    copies = [made.repository(copy) for copy in made.copies]
    return plan_copy_retention(copies[0], copies, made.clock, RetentionPolicy(), service="kb")


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda made: made.overview("primary"), id="list"),
        pytest.param(lambda made: made.make_report(SilentProgress()), id="report"),
        pytest.param(plan_retention, id="retention plan"),
        pytest.param(lambda made: made.lacking("offsite"), id="what a copy lacks"),
        pytest.param(lambda made: made.recovery_windows("primary"), id="recoverable windows"),
    ],
)
def test_no_manifest_and_no_proof_is_read_twice(
    tmp_path: Path, look: Callable[[MadeInstallation], object]
) -> None:
    read = reads(tmp_path, look)

    assert sum(key.endswith("/manifest.json") for _, key in read) >= BACKUPS
    assert [each for each, count in read.items() if count > 1] == []


def test_manifests_that_one_look_has_read_are_not_read_by_the_next(tmp_path: Path) -> None:
    read = reads(tmp_path, lambda made: (made.overview("primary"), made.recovery_windows()))

    manifests = {each: count for each, count in read.items() if each[1].endswith("/manifest.json")}
    assert len(manifests) == 2 * BACKUPS
    assert set(manifests.values()) == {1}


@pytest.fixture
def copy() -> MemoryRepository:
    return MemoryRepository("primary")


@pytest.fixture
def big(copy: MemoryRepository) -> StoredManifest:
    """A backup of 200 chunks and a thousand sampled rows, as it is stored."""
    manifest = store_objects(copy, chunks=200)
    rows = tuple(SampledRow(f"{n:064x}", f"{n:064x}") for n in range(1000))
    table = TableFingerprint("public.pages", 10**6, ("id",), ("id", "text"), rows)
    fingerprint = replace(manifest.fingerprint, tables=(table,))
    return store_manifest(copy, replace(manifest, fingerprint=fingerprint))


def test_a_lean_manifest_is_small_and_judged_as_the_whole_one(big: StoredManifest) -> None:
    small = lean(big)

    assert len(records.to_json(big.manifest)) > 100 * LEAN_BYTES
    assert len(records.to_json(small.manifest)) < LEAN_BYTES
    assert (small.digest, small.copy) == (big.digest, big.copy)
    for what in ("id", "kind", "wal", "started", "finished", "stored_bytes", "plain_bytes",
                 "parent", "has_files", "is_dump", "attempt", "recipients"):  # fmt: skip
        assert getattr(small.manifest, what) == getattr(big.manifest, what), what


def test_nothing_of_a_lean_manifest_passes_for_what_is_stored(
    copy: MemoryRepository, big: StoredManifest
) -> None:
    for stored in lean(big).manifest.objects:
        with pytest.raises(RepositoryError):
            copy.get(stored)


def test_a_lean_manifest_of_one_chunk_passes_for_it_neither(copy: MemoryRepository) -> None:
    one = store_manifest(copy, store_objects(copy, chunks=1))

    (chunk,) = lean(one).manifest.chunks

    assert chunk.size_bytes == one.manifest.chunks[0].size_bytes
    with pytest.raises(RepositoryError):
        copy.get(chunk)


def test_the_whole_of_a_lean_manifest_is_what_was_stored(
    copy: MemoryRepository, big: StoredManifest
) -> None:
    assert whole(copy, lean(big)) == big


def test_another_manifest_that_stands_there_meanwhile_is_refused(
    copy: MemoryRepository, big: StoredManifest
) -> None:
    with pytest.raises(NoUsableBackup, match="was chosen"):
        whole(copy, replace(lean(big), digest="0" * 64))
