"""A proof of a real restore: green for a whole copy, and for no damaged one."""

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pyrage
import pytest

from kb_dr import records
from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.restored_checks import RestoredChecks
from kb_dr.domain import layout
from kb_dr.domain.fingerprint import TableFingerprint
from kb_dr.domain.manifest import Manifest, Source, manifest_digest
from kb_dr.domain.proof import Outcome, Proof, Standing, Verdict, standing
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import NoUsableBackup, RepositoryUnavailable
from kb_dr.operations.proofs import load_proofs
from kb_dr.operations.verify import verify_backup
from kb_dr.ports import Codec, RestoredServer
from kb_dr.sandbox.postgres_binaries import MAJORS_WITH_VECTOR
from kb_dr_tests.postgres_servers import programs_of
from kb_dr_tests.protected_cluster import LostCluster, lose_a_protected_cluster
from kb_dr_tests.read_proofs import outcomes, require_nothing_left, seen, servers_in


def prove(
    lost: LostCluster,
    directory: Path,
    *,
    codec: Codec | None = None,
    clock: SystemClock | None = None,
) -> Proof:
    """Run a proof, and hold it to what holds for every proof, whatever its verdict."""
    scratch = directory / "scratch"
    proof = verify_backup(
        lost.repository,
        codec or lost.codec,
        lost.host,
        lost.scratch(directory),
        RestoredChecks(),
        clock or SystemClock(),
        SilentProgress(),
        backup=lost.stored.manifest.backup_id,
    )

    require_nothing_left(scratch)
    assert proof in load_proofs(lost.repository, lost.stored.manifest.backup_id)
    assert proof.copy == "primary"
    assert proof.url == str(lost.root)
    assert proof.reason
    return proof


def alter(lost: LostCluster, change: Callable[[Manifest], Manifest]) -> None:
    """Write another manifest: as if what it records had been otherwise at the source."""
    path = lost.root / layout.manifest_key(lost.stored.manifest.backup_id)
    path.chmod(0o600)
    path.write_bytes(records.to_json(change(lost.stored.manifest)))


def alter_source(lost: LostCluster, change: Callable[[Source], Source]) -> None:
    alter(lost, lambda manifest: replace(manifest, source=change(manifest.source)))


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def test_a_whole_copy_is_proven_up_to_its_last_archived_record(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)

    proof = prove(lost, tmp_path)

    assert proof.verdict is Verdict.PROVEN, (proof.reason, proof.checks)
    assert outcomes(proof) == {
        "rows_as_recorded": Outcome.PASSED,
        "schema_version": Outcome.PASSED,
        "extensions": Outcome.PASSED,
        "indexes_valid": Outcome.PASSED,
        "vector_dimensions": Outcome.PASSED,
        "tables": Outcome.PASSED,
        "btrees": Outcome.PASSED,
        "visibility_maps": Outcome.PASSED,
        "vector_recall": Outcome.PASSED,
        "heartbeat": Outcome.NOT_APPLICABLE,
        "page_checksums": Outcome.PASSED,
    }
    assert re.search(r"recall@10 [01]\.\d+ over 100 queries", seen(proof, "vector_recall"))
    assert proof.manifest_digest == lost.stored.digest
    assert proof.reach is not None
    assert proof.reach.complete
    assert proof.reach.expected_lsn > lost.stored.manifest.fingerprint.lsn
    assert proof.reach.newest_commit is not None
    assert {"fetch and unpack", "verify files", "replay", "checks"} <= {
        phase.name for phase in proof.phases
    }
    assert proof.tools["postgres"].startswith("16.")
    assert known(lost) is Standing.PROVEN


def known(lost: LostCluster) -> Standing:
    proofs = load_proofs(lost.repository, lost.stored.manifest.backup_id)
    return standing(
        proofs, digest=lost.stored.digest, copy="primary", url=str(lost.root), void_through=None
    )[0]


@pytest.mark.parametrize("major", [14, 15, 17, 18])
def test_every_major_version_is_proven_with_vectors_or_without(major: int, tmp_path: Path) -> None:
    lost = lose_a_protected_cluster(programs_of(major), tmp_path)

    proof = prove(lost, tmp_path)

    assert proof.verdict is Verdict.PROVEN, (proof.reason, proof.checks)
    assert outcomes(proof)["rows_as_recorded"] is Outcome.PASSED
    assert outcomes(proof)["btrees"] is Outcome.PASSED
    with_vectors = major in MAJORS_WITH_VECTOR
    expected = Outcome.PASSED if with_vectors else Outcome.NOT_APPLICABLE
    assert outcomes(proof)["vector_recall"] is expected
    assert proof.tools["postgres"].startswith(f"{major}.")


class HastyClock(SystemClock):
    """Waits for nothing, and says that it did; may be set to another hour."""

    def __init__(self, shift: timedelta = timedelta(0)) -> None:
        self._slept = 0.0
        self._shift = shift

    def now(self) -> datetime:
        return super().now() + self._shift

    def monotonic(self) -> float:
        return super().monotonic() + self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += seconds


def test_what_the_manifest_records_otherwise_is_found_in_the_restored_rows(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    """One restore for all of it: each check must see its own difference."""
    lost = lost_cluster.copied(tmp_path)

    def other_rows(table: TableFingerprint) -> TableFingerprint:
        if table.table == "public.organizations":
            changed = replace(table.sample[0], digest="0" * 64)
            lost_row = replace(table.sample[1], key="0" * 64)
            return replace(table, sample=(changed, lost_row, *table.sample[2:]))
        if table.table == "public.knowledge_entries":
            return replace(table, rows=(table.rows or 0) + 1)
        return table

    def otherwise(manifest: Manifest) -> Manifest:
        tables = tuple(other_rows(table) for table in manifest.fingerprint.tables)
        (vectors,) = manifest.source.vectors
        return replace(
            manifest,
            fingerprint=replace(manifest.fingerprint, tables=tables),
            source=replace(
                manifest.source,
                schema_version="20991231_never",
                invalid_indexes=(),
                extensions=manifest.source.extensions | {"plpgsql": "0.9"},
                vectors=(replace(vectors, recall_at_10=1.1, dimensions=9),),
            ),
        )

    alter(lost, otherwise)

    proof = prove(lost, tmp_path)

    assert proof.verdict is Verdict.FAILED
    assert {name for name, outcome in outcomes(proof).items() if outcome is Outcome.FAILED} == {
        "rows_as_recorded",
        # "schema_version" passes: the table that holds it is as it was at the restore point.
        "extensions",
        "indexes_valid",
        "vector_dimensions",
        "vector_recall",
    }
    rows = seen(proof, "rows_as_recorded")
    assert "public.organizations: 1 of 20 sampled rows are missing" in rows
    assert "public.organizations: 1 of 20 sampled rows differ" in rows
    assert "public.knowledge_entries: 1500 rows, expected 1501" in rows
    assert "migrated while the backup ran" in seen(proof, "schema_version")
    assert "public.ledger_stale" in seen(proof, "indexes_valid")


def test_a_failed_proof_after_a_good_one_turns_the_green_off_also_on_a_clock_set_back(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)
    good = prove(lost, tmp_path)
    assert known(lost) is Standing.PROVEN
    chunk = lost.chunks[0]
    body = bytearray(chunk.read_bytes())
    body[len(body) // 2] ^= 1
    overwrite(chunk, bytes(body))

    bad = prove(lost, tmp_path, clock=HastyClock(timedelta(hours=-3)))

    assert (good.verdict, bad.verdict) == (Verdict.PROVEN, Verdict.FAILED)
    assert bad.manifest_digest == good.manifest_digest
    assert known(lost) is Standing.FAILED

    unable = prove(lost, tmp_path, codec=_another_key())

    assert unable.verdict is Verdict.NOT_PROVEN
    assert known(lost) is Standing.FAILED, "a proof that could not run brings no green back"


def _another_key() -> AgeCodec:
    identity = pyrage.x25519.Identity.generate()
    return AgeCodec([str(identity.to_public())], [str(identity)])


def test_without_the_key_nothing_is_said_of_the_copy(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)

    proof = prove(lost, tmp_path, codec=_another_key())

    assert proof.verdict is Verdict.NOT_PROVEN
    assert known(lost) is Standing.UNPROVEN


def missing_chunk(lost: LostCluster) -> None:
    lost.chunks[-1].unlink()


def shortened_chunk(lost: LostCluster) -> None:
    overwrite(lost.chunks[0], lost.chunks[0].read_bytes()[:-1])


def swapped_chunks(lost: LostCluster) -> None:
    first, second = (lost.chunks[place].read_bytes() for place in (0, 1))
    overwrite(lost.chunks[0], second)
    overwrite(lost.chunks[1], first)


def missing_backup_manifest(lost: LostCluster) -> None:
    own = lost.stored.manifest.postgres_manifest
    assert own is not None
    (lost.root / own.key).unlink()


def hole_in_the_wal(lost: LostCluster) -> None:
    lost.object_of(lost.segments[0]).unlink()


def empty_wal(lost: LostCluster) -> None:
    overwrite(lost.object_of(lost.segments[0]), b"")


def truncated_wal(lost: LostCluster) -> None:
    path = lost.object_of(lost.segments[0])
    overwrite(path, path.read_bytes()[: path.stat().st_size // 2])


def foreign_wal(lost: LostCluster) -> None:
    """The segment of another cluster, stored as a push would have stored it."""
    path = lost.object_of(lost.segments[-1])
    plain = bytearray(lost.codec.decode(path.read_bytes()))
    place = slice(24, 32)  # xlp_sysid of XLogLongPageHeaderData
    assert int.from_bytes(plain[place], sys.byteorder) == _system(lost)
    plain[place] = (_system(lost) + 1).to_bytes(8, sys.byteorder)
    path.unlink()
    digest = hashlib.sha256(plain).hexdigest()
    key = layout.wal_key(_system(lost), lost.segments[-1], digest)
    lost.repository.put(key, lost.codec.encode(bytes(plain)))


def wal_of_two_servers(lost: LostCluster) -> None:
    name = lost.segments[-1]
    other = lost.codec.encode(b"other WAL")
    lost.repository.put(layout.wal_key(_system(lost), name, "0" * 64), other)


def damaged_manifest(lost: LostCluster) -> None:
    path = lost.root / layout.manifest_key(lost.stored.manifest.backup_id)
    overwrite(path, path.read_bytes().replace(b'"timeline"', b'"timeljne"'))


def _system(lost: LostCluster) -> int:
    return lost.stored.manifest.source.system_identifier


@pytest.mark.parametrize(
    "damage",
    [
        missing_chunk,
        shortened_chunk,
        swapped_chunks,
        missing_backup_manifest,
        hole_in_the_wal,
        empty_wal,
        truncated_wal,
        foreign_wal,
        wal_of_two_servers,
        damaged_manifest,
    ],
)
def test_a_damaged_copy_fails(
    damage: Callable[[LostCluster], None], lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)
    damage(lost)

    proof = prove(lost, tmp_path, clock=HastyClock())

    assert proof.verdict is Verdict.FAILED, proof.reason
    assert known(lost) is Standing.FAILED


class FallsSilent(DirectoryRepository):
    """A store that answers until a chunk is asked for."""

    def get(self, stored: StoredObject) -> bytes:
        if "base.tar" in stored.key:
            raise RepositoryUnavailable(f"get {stored.key}: no answer")
        return super().get(stored)


def test_a_store_that_falls_silent_leaves_what_was_known(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)
    missing_chunk(lost)
    red = prove(lost, tmp_path)
    silent = replace(lost, repository=FallsSilent(lost.root, "primary"))

    unable = prove(silent, tmp_path)

    assert (red.verdict, unable.verdict) == (Verdict.FAILED, Verdict.NOT_PROVEN)
    assert known(lost) is Standing.FAILED


def test_a_proof_of_the_offsite_copy_is_kept_in_both_and_speaks_of_one(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    primary, offsite = (lost_cluster.copied(tmp_path / place) for place in ("here", "there"))
    missing_chunk(offsite)

    proof = verify_backup(
        DirectoryRepository(offsite.root, "offsite"),
        offsite.codec,
        offsite.host,
        offsite.scratch(tmp_path),
        RestoredChecks(),
        SystemClock(),
        SilentProgress(),
        backup=None,
        also_store_in=primary.repository,
    )

    backup = primary.stored.manifest.backup_id
    assert (proof.verdict, proof.copy) == (Verdict.FAILED, "offsite")
    assert load_proofs(primary.repository, backup) == (proof,)
    assert load_proofs(offsite.repository, backup) == (proof,)
    assert known(primary) is Standing.UNPROVEN


def test_of_a_copy_without_the_backup_there_is_nothing_to_say(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)
    (lost.root / layout.manifest_key(lost.stored.manifest.backup_id)).unlink()

    with pytest.raises(NoUsableBackup):
        prove(lost, tmp_path)

    assert load_proofs(lost.repository, lost.stored.manifest.backup_id) == ()


def newer_schema(lost: LostCluster) -> None:
    alter(lost, lambda manifest: replace(manifest, schema_version=records.SCHEMA_VERSION + 1))


def unknown_extension(lost: LostCluster) -> None:
    alter_source(
        lost, lambda source: replace(source, extensions=source.extensions | {"postgis": "3.4"})
    )


def unknown_major(lost: LostCluster) -> None:
    alter_source(lost, lambda source: replace(source, server_version=990001))


def no_room(lost: LostCluster) -> None:
    alter(lost, lambda manifest: replace(manifest, plain_bytes=1 << 60))


@pytest.mark.parametrize("lack", [newer_schema, unknown_extension, unknown_major, no_room])
def test_what_this_host_cannot_do_leaves_the_copy_unjudged(
    lack: Callable[[LostCluster], None], lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)
    lack(lost)

    proof = prove(lost, tmp_path)

    assert proof.verdict is Verdict.NOT_PROVEN, proof.reason
    body = (lost.root / layout.manifest_key(lost.stored.manifest.backup_id)).read_bytes()
    assert proof.manifest_digest == manifest_digest(body)


class Interrupting(RestoredChecks):
    """The operator presses Ctrl-C while the restored server stands paused."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.servers: list[str] = []

    def look_into(self, server: RestoredServer, source: Source) -> NoReturn:
        self.servers = servers_in(self.scratch)
        raise KeyboardInterrupt


def test_an_interrupted_proof_leaves_neither_a_server_nor_a_verdict(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster.copied(tmp_path)
    inspector = Interrupting(tmp_path / "scratch")

    with pytest.raises(KeyboardInterrupt):
        verify_backup(
            lost.repository,
            lost.codec,
            lost.host,
            lost.scratch(tmp_path),
            inspector,
            SystemClock(),
            SilentProgress(),
            backup=None,
        )

    assert inspector.servers, "no server ran when it was interrupted"
    assert servers_in(tmp_path / "scratch") == []
    assert list((tmp_path / "scratch").iterdir()) == []
    assert load_proofs(lost.repository, lost.stored.manifest.backup_id) == ()
