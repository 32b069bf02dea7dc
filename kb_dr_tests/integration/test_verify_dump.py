"""A proof of a real dump: green for what loads and compares equal, and for nothing else."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pyrage
import pytest

from kb_dr import records
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.fingerprint import TableFingerprint
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Outcome, Proof, Standing, Verdict
from kb_dr_tests.dumped_service import DumpedService, dumped
from kb_dr_tests.postgres_servers import programs_of
from kb_dr_tests.protected_service import Service
from kb_dr_tests.read_proofs import outcomes, require_nothing_left, seen


def prove(service: Service, backup: str, **settings: str) -> Proof:
    """Run a proof, and hold it to what holds for every proof, whatever its verdict."""
    opened = service.opened(**settings)

    proof = opened.verify(BackupId.parse(backup), "primary", SilentProgress())

    require_nothing_left(service.directory / "scratch")
    assert proof in opened.proofs(BackupId.parse(backup))
    assert proof.reach is None
    assert proof.reason
    return proof


def alter(service: DumpedService, change: Callable[[Manifest], Manifest]) -> None:
    """Write another manifest: as if what it records had been otherwise at the source."""
    manifest = service.stored.manifest
    path = service.directory / "primary" / layout.manifest_key(manifest.backup_id)
    path.chmod(0o600)
    path.write_bytes(records.to_json(change(manifest)))


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def another(service: DumpedService, directory: Path, database: str) -> Service:
    """An installation of its own that protects another database of the same server."""
    made = service.copied(directory)
    for name in ("primary", "offsite"):
        for each in sorted((directory / name / "dump").rglob("*"), reverse=True):
            each.rmdir() if each.is_dir() else each.unlink()
    return Service(directory, made.settings | {"KB_DB_NAME": database})


def take(service: Service) -> StoredManifest:
    return service.opened().back_up_dump(None, SilentProgress())


@contextmanager
def written_to(conninfo: str) -> Iterator[Callable[[], int]]:
    """Rows are inserted, changed and removed all the while; yields how many commits there were."""
    stop, done = threading.Event(), [0]

    def write() -> None:
        with psycopg.connect(conninfo, autocommit=True) as session:
            while not stop.is_set():
                number = 10_000 + done[0]
                session.execute(
                    "insert into busy select i, md5(i::text) from generate_series(%s, %s) i",
                    [20 * number, 20 * number + 19],
                )
                session.execute(
                    "update busy set words = words || '.' where id %% 7 = %s", [number % 7]
                )
                session.execute("delete from busy where id = any(array(select min(id) from busy))")
                done[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield lambda: done[0]
    finally:
        stop.set()
        writer.join()


def test_a_dump_taken_under_a_write_load_is_proven_with_exact_counts(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    service = dumped_service.copied(tmp_path)
    cluster = service.cluster
    cluster.query("create table busy (id bigint primary key, words text)", database="kb")
    cluster.query(
        "insert into busy select i, md5(i::text) from generate_series(1, 20000) i", database="kb"
    )
    try:
        with written_to(cluster.conninfo("kb")) as commits:
            before = commits()
            stored = take(service)
            during = commits() - before
    finally:
        cluster.query("drop table busy", database="kb")

    proof = prove(service, stored.manifest.id)

    assert during > 0, "nothing was written while it was dumped: the test shows nothing"
    (busy,) = [t for t in stored.manifest.fingerprint.tables if t.table == "public.busy"]
    assert busy.rows is not None
    assert len(busy.sample) >= 1000
    assert proof.verdict is Verdict.PROVEN, (proof.reason, proof.checks)
    assert outcomes(proof) == {
        "contents": Outcome.PASSED,
        "roles": Outcome.PASSED,
        "loaded": Outcome.PASSED,
        "rows_as_recorded": Outcome.PASSED,
        "schema_version": Outcome.PASSED,
        "extensions": Outcome.PASSED,
        "indexes_valid": Outcome.PASSED,
        "vector_dimensions": Outcome.PASSED,
        "came_into_being": Outcome.PASSED,
        "large_objects": Outcome.PASSED,
        "tables": Outcome.PASSED,
        "btrees": Outcome.PASSED,
        "visibility_maps": Outcome.PASSED,
        "vector_recall": Outcome.PASSED,
    }
    assert f"{sum(t.rows or 0 for t in stored.manifest.fingerprint.tables)} rows" in seen(
        proof, "rows_as_recorded"
    )
    phases = {phase.name for phase in proof.phases}
    assert {"fetch", "make the cluster", "load", "analyze", "checks"} <= phases
    assert {"postgres", "pg_restore", "psql"} <= proof.tools.keys()
    known = service.opened().standings(stored, ["primary"])
    assert known == {"primary": Standing.PROVEN}


def test_a_dump_of_the_newest_major_is_proven_where_large_objects_share_an_entry(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        service = dumped(programs_of(18), tmp_path, stack)

    # The server is gone: a proof needs nothing of it.
    proof = prove(service, service.backup_id)

    assert proof.verdict is Verdict.PROVEN, (proof.reason, proof.checks)
    assert seen(proof, "large_objects") == "1"
    assert outcomes(proof)["vector_recall"] is Outcome.PASSED
    assert proof.tools["pg_restore"].startswith("18.")


def test_what_the_manifest_records_otherwise_is_found_in_the_loaded_rows(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    """One load for all of it: each check must see its own difference."""
    service = dumped_service.copied(tmp_path)

    def other_rows(table: TableFingerprint) -> TableFingerprint:
        if table.table == "public.knowledge_entries":
            return replace(table, rows=(table.rows or 0) + 1)
        if table.table == "public.organizations":
            changed = replace(table.sample[0], digest="0" * 64)
            return replace(table, sample=(changed, *table.sample[1:]))
        return table

    def otherwise(manifest: Manifest) -> Manifest:
        tables = tuple(other_rows(each) for each in manifest.fingerprint.tables)
        (vectors,) = manifest.source.vectors
        return replace(
            manifest,
            fingerprint=replace(manifest.fingerprint, tables=tables),
            source=replace(
                manifest.source,
                schema_version="20991231_never",
                vectors=(replace(vectors, recall_at_10=2.0, dimensions=9),),
            ),
        )

    alter(service, otherwise)

    proof = prove(service, service.backup_id)

    assert proof.verdict is Verdict.FAILED
    rows = seen(proof, "rows_as_recorded")
    assert "public.knowledge_entries: 300 rows, expected 301" in rows
    assert "public.organizations: 1 of 20 sampled rows differ" in rows
    red = {name for name, outcome in outcomes(proof).items() if outcome is Outcome.FAILED}
    assert red == {"rows_as_recorded", "vector_dimensions", "vector_recall"}
    assert "20991231_never" in seen(proof, "schema_version")


def flipped_byte(service: DumpedService) -> None:
    body = bytearray(service.chunk().read_bytes())
    body[len(body) // 2] ^= 1
    overwrite(service.chunk(), bytes(body))


def truncated_chunk(service: DumpedService) -> None:
    last = service.directory / "primary" / service.stored.manifest.chunks[-1].key
    overwrite(last, last.read_bytes()[:-1])


def missing_chunk(service: DumpedService) -> None:
    service.chunk().unlink()


def another_archive(service: DumpedService) -> None:
    """The bytes are those recorded, but they are no archive."""
    codec = service.opened().codec
    body = codec.encode(b"not an archive")
    path = service.chunk()
    overwrite(path, body)
    (chunk, *_) = service.stored.manifest.chunks
    fitting = replace(
        chunk,
        size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        md5=hashlib.md5(body).hexdigest(),
    )
    alter(
        service,
        lambda manifest: replace(
            manifest,
            chunks=(fitting,),
            plain_bytes=14,
            plain_sha256=hashlib.sha256(b"not an archive").hexdigest(),
        ),
    )


def lost_roles(service: DumpedService) -> None:
    facts = service.stored.manifest.dump
    assert facts is not None
    assert facts.globals is not None
    (service.directory / "primary" / facts.globals.key).unlink()


@pytest.mark.parametrize(
    "damage", [flipped_byte, truncated_chunk, missing_chunk, another_archive, lost_roles]
)
def test_a_damaged_dump_fails(
    damage: Callable[[DumpedService], None], dumped_service: DumpedService, tmp_path: Path
) -> None:
    service = dumped_service.copied(tmp_path)
    damage(service)

    proof = prove(service, service.backup_id)

    assert proof.verdict is Verdict.FAILED, proof.reason


def test_what_this_host_cannot_do_leaves_a_dump_unjudged(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    service = dumped_service.copied(tmp_path)
    stranger = tmp_path / "stranger.agekey"
    stranger.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    unable = [prove(service, service.backup_id, KB_DR_AGE_IDENTITY_FILE=str(stranger))]

    alter(service, lambda manifest: replace(manifest, plain_bytes=1 << 60))
    unable.append(prove(service, service.backup_id))

    def with_postgis(manifest: Manifest) -> Manifest:
        extensions = manifest.source.extensions | {"postgis": "3.4"}
        return replace(manifest, source=replace(manifest.source, extensions=extensions))

    alter(service, with_postgis)
    unable.append(prove(service, service.backup_id))

    assert [each.verdict for each in unable] == 3 * [Verdict.NOT_PROVEN]
    whys = [each.reason for each in unable]
    for why, word in zip(whys, ("identity", "bytes are free", "postgis"), strict=True):
        assert word in why, whys


def test_a_dump_that_cannot_be_loaded_fails_with_the_servers_own_words(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    cluster = dumped_service.cluster
    cluster.query("create database unloadable")
    for statement in (
        "create function helped(t text) returns text language sql immutable as 'select lower(t)'",
        # It names another by the search path alone, which is empty while a dump is loaded.
        "create function shown(t text) returns text language sql immutable as 'select helped(t)'",
        "create table entries (id int primary key, title text)",
        "insert into entries values (1, 'One')",
        "create index entries_shown on entries (shown(title))",
    ):
        cluster.query(statement, database="unloadable")
    service = another(dumped_service, tmp_path, "unloadable")

    proof = prove(service, take(service).manifest.id)

    assert proof.verdict is Verdict.FAILED, proof.reason
    assert "function helped(text) does not exist" in proof.reason


def test_an_empty_database_is_proven_as_empty(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    dumped_service.cluster.query("create database nothing_here")
    service = another(dumped_service, tmp_path, "nothing_here")
    stored = take(service)

    said = service.run("verify", "latest", "--kind", "dump", KB_DR_OFFSITE_URL="").require(0)

    assert f"PROVEN: {stored.manifest.id}" in said.out
    assert "empty as the source was" in said.out
    require_nothing_left(tmp_path / "scratch")


class BrokenOff(SilentProgress):
    """The operator presses Ctrl-C as soon as the server runs."""

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        if phase == "load and check":
            raise KeyboardInterrupt


def test_a_proof_that_is_broken_off_leaves_nothing(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    service = dumped_service.copied(tmp_path)
    backup = BackupId.parse(service.backup_id)

    with pytest.raises(KeyboardInterrupt):
        service.opened().verify(backup, "primary", BrokenOff())

    require_nothing_left(tmp_path / "scratch")
    assert service.opened().proofs(backup) == ()


@pytest.mark.parametrize("damage", [Damage.ROWS_DROPPED, Damage.VECTOR_INDEX_STALE])
def test_rows_lost_after_the_load_are_seen(
    damage: Damage, dumped_service: DumpedService, tmp_path: Path
) -> None:
    service = dumped_service.copied(tmp_path)

    run = service.opened().run_controls(
        BackupId.parse(service.backup_id), "primary", SilentProgress(), damages=[damage]
    )

    (result,) = run.results
    assert result.outcome is ControlOutcome.GOOD, result
    assert result.verdict is Verdict.FAILED
    require_nothing_left(tmp_path / "scratch")
