"""The heartbeat on a real server: made, beating, left out of what must stand still, and proven."""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.heartbeat_table import PostgresHeartbeat
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.restored_checks import RestoredChecks
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain.forecast import RestoreWork, forecast, measured_runs
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Outcome, Proof, Verdict
from kb_dr.errors import ConfigurationError
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.verify import verify_backup
from kb_dr_tests.postgres_servers import RunningCluster, fill, source_settings
from kb_dr_tests.protected_service import ProtectedService, Service, ended
from kb_dr_tests.push_wal import archive_command

BEAT = "select beat from kb_dr.heartbeat"


@pytest.fixture(scope="module")
def cluster(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    with RunningCluster(postgres_programs, tmp_path_factory.mktemp("source")) as running:
        running.query("create table kept (n int primary key)")
        yield running


@pytest.fixture
def table(cluster: RunningCluster) -> Iterator[PostgresHeartbeat]:
    made = PostgresHeartbeat(source_settings(cluster))
    yield made
    cluster.query("drop schema if exists kb_dr cascade")


def service(cluster: RunningCluster, directory: Path) -> Service:
    return Service(
        directory,
        {
            "KB_DB_HOST": str(cluster.sockets),
            "KB_DB_NAME": "postgres",
            "KB_DR_REPOSITORY_URL": str(directory / "primary"),
        },
    )


def wait_until_newer(cluster: RunningCluster, beat: object) -> object:
    cluster.wait_for(f"select exists ({BEAT} where beat > %s)", [beat])
    return cluster.value(BEAT)


def test_installed_twice_it_is_there_once_and_removed_it_is_gone(
    cluster: RunningCluster, table: PostgresHeartbeat
) -> None:
    assert (table.install(), table.install()) == (True, False)
    with table.writing(5.0) as heart:
        written = heart.beat()
        assert written == cluster.value(BEAT)
    assert not table.install()
    assert cluster.value(BEAT) == written, "install must not touch the row"

    assert (table.remove(), table.remove()) == (True, False)
    assert cluster.value("select to_regnamespace('kb_dr') is null")


def test_what_others_keep_in_the_schema_stays(
    cluster: RunningCluster, table: PostgresHeartbeat
) -> None:
    table.install()
    cluster.query("create table kb_dr.other (n int)")

    assert table.remove()

    assert cluster.query("select * from kb_dr.other") == []


def test_a_foreign_table_of_that_name_is_neither_taken_over_nor_dropped(
    cluster: RunningCluster, table: PostgresHeartbeat
) -> None:
    cluster.query("create schema kb_dr")
    cluster.query("create table kb_dr.heartbeat (pulse int)")

    for attempt in (table.install, table.remove):
        with pytest.raises(ConfigurationError):
            attempt()

    assert cluster.query("select pulse from kb_dr.heartbeat") == []
    assert PostgresSource(source_settings(cluster)).facts().beat is None


def test_a_thousand_beats_fit_into_one_page_without_any_vacuum(
    cluster: RunningCluster, table: PostgresHeartbeat
) -> None:
    table.install()
    cluster.query("alter table kb_dr.heartbeat set (autovacuum_enabled = off)")

    with table.writing(5.0) as heart:
        for _ in range(1000):
            heart.beat()

    assert cluster.value("select pg_relation_size('kb_dr.heartbeat')") == 8192
    assert cluster.query("select count(*) from kb_dr.heartbeat") == [(1,)]


def test_the_source_tells_its_beat_and_that_it_has_none(
    cluster: RunningCluster, table: PostgresHeartbeat
) -> None:
    source = PostgresSource(source_settings(cluster))
    assert source.facts().beat is None
    table.install()
    assert source.facts().beat is None, "it never beat"
    with table.writing(7.0) as heart:
        written = heart.beat()

    seen = source.facts()

    assert seen.beat is not None
    assert (seen.beat.at, seen.beat.every_seconds) == (written, 7.0)
    assert not seen.beat.is_late(seen.now)


def test_a_fingerprint_over_all_tables_leaves_it_out(
    cluster: RunningCluster, table: PostgresHeartbeat
) -> None:
    table.install()
    source = PostgresSource(source_settings(cluster))
    cluster.query("create table kb_dr.other (n int primary key)")

    seen, _ = source.fingerprint("kb-full-20260101-000000", ())

    names = {each.table for each in seen.tables}
    assert {"public.kept", "kb_dr.other"} <= names
    assert "kb_dr.heartbeat" not in names
    with pytest.raises(ConfigurationError, match=r"kb_dr\.heartbeat"):
        source.fingerprint("kb-full-20260101-000001", ("kept", "kb_dr.heartbeat"))


def test_a_role_that_may_not_write_it_is_told_what_to_grant(
    cluster: RunningCluster, table: PostgresHeartbeat
) -> None:
    table.install()
    cluster.query("create role stranger login")
    cluster.query("grant usage on schema kb_dr to stranger")
    settings = replace(source_settings(cluster), user="stranger")
    try:
        with (
            pytest.raises(ConfigurationError) as caught,
            PostgresHeartbeat(settings).writing(5.0) as heart,
        ):
            heart.beat()
        assert PostgresSource(settings).facts().beat is None
    finally:
        cluster.query("revoke all on schema kb_dr from stranger")
        cluster.query("drop role stranger")

    assert "insert, update" in caught.value.hint


def test_run_beats_on_through_a_restart_until_it_is_told_to_stop(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path / "source") as cluster:
        here = service(cluster, tmp_path)
        here.run("heartbeat", "run").require(2, "kb-dr heartbeat install")
        assert "made" in here.run("heartbeat", "install").require(0).out
        assert "already" in here.run("heartbeat", "install").require(0).out
        process = here.start("heartbeat", "run", "--every", "0.5")
        try:
            cluster.wait_for("select exists (select from kb_dr.heartbeat)")
            last = wait_until_newer(cluster, cluster.value(BEAT))
            cluster.stop()
            cluster.start()
            wait_until_newer(cluster, last)
        finally:
            process.send_signal(signal.SIGTERM)
            said = ended(process)
        said.require(130, "missed a beat")

        before = cluster.value(BEAT)
        time.sleep(0.7)  # longer than one beat: nobody writes any more
        assert cluster.value(BEAT) == before
        assert "dropped" in here.run("heartbeat", "remove").require(0).out


@dataclass(frozen=True)
class BackedUp:
    """A running cluster with a heartbeat, its WAL and one backup in a directory."""

    cluster: RunningCluster
    repository: DirectoryRepository
    codec: AgeCodec
    host: LocalPostgresHost
    stored: StoredManifest

    def prove(self, directory: Path) -> Proof:
        return verify_backup(
            self.repository,
            self.codec,
            self.host,
            LocalScratchSpace(directory / "scratch"),
            RestoredChecks(),
            SystemClock(),
            SilentProgress(),
            backup=self.stored.manifest.backup_id,
        )


@pytest.fixture
def backed_up(postgres_programs: PostgresPrograms, tmp_path: Path) -> Iterator[BackedUp]:
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    codec = AgeCodec([recipient], [str(identity)])
    repository = DirectoryRepository(tmp_path / "repository", "primary")
    repository.create()
    init_repository(repository, SystemClock(), service="kb", org="default")
    with RunningCluster(
        postgres_programs,
        tmp_path / "source",
        archive_command=archive_command(tmp_path / "repository", recipient),
    ) as cluster:
        fill(cluster, 100)
        settings = source_settings(cluster)
        table = PostgresHeartbeat(settings)
        table.install()
        with table.writing(5.0) as heart:
            heart.beat()
            stored = take_base_backup(
                repository,
                codec,
                PostgresSource(settings),
                PgBaseBackup(postgres_programs, settings),
                SystemClock(),
                SilentProgress(),
                BackupTools("kb", "default", "test-host", chunk_bytes=1024 * 1024),
            )
            heart.beat()
        host = LocalPostgresHost([postgres_programs.bin_dir])
        yield BackedUp(cluster, repository, codec, host, stored)


def test_a_proof_shows_the_beat_that_came_back_and_refuses_one_from_nowhere(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    cluster = backed_up.cluster
    written = cluster.value("select (beat at time zone 'UTC')::text from kb_dr.heartbeat")
    cluster.archive_everything()

    good = backed_up.prove(tmp_path)

    (check,) = [each for each in good.checks if each.name == "heartbeat"]
    assert good.verdict is Verdict.PROVEN, good.reason
    assert check.outcome is Outcome.PASSED
    assert written[:22] in check.seen
    tables = [each.table for each in backed_up.stored.manifest.fingerprint.tables]
    assert "kb_dr.heartbeat" not in tables
    assert "public.knowledge_entries" in tables
    _foretells(good)

    cluster.query("update kb_dr.heartbeat set beat = now() + interval '1 hour'")
    cluster.archive_everything()

    bad = backed_up.prove(tmp_path)

    assert bad.verdict is Verdict.FAILED
    assert bad.reason.startswith("heartbeat: ")


def _foretells(proof: Proof) -> None:
    """The phases of a real proof carry all that a forecast needs."""
    work = RestoreWork(10**9, 10**9, 50, 16 * 1024 * 1024)
    told = forecast(work, measured_runs([proof]), copy="primary")

    assert told.seconds is not None
    named = {each.name for each in told.phases}
    assert {"fetch and unpack", "verify files", "replay", "checks", "shut down"} <= named
    replayed = sum(each.size_bytes or 0 for each in proof.phases if "replay" in each.name)
    assert proof.reach is not None
    assert proof.reach.reached_lsn is not None
    sizes = {each.name: each.size_bytes for each in proof.phases}
    assert sizes["checks"]
    assert sizes["replay to the restore point"]
    assert sizes["replay"]
    assert 0 < replayed < proof.reach.reached_lsn


def test_status_counts_from_a_proven_base_and_says_where_it_was_proven(
    protected_service: ProtectedService, tmp_path: Path
) -> None:
    service = protected_service.copied(tmp_path)

    proven = json.loads(service.run("status", "--json").out)
    for proof in (tmp_path / "offsite" / "proofs").rglob("*.json"):
        proof.unlink()
    for proof in (tmp_path / "primary" / "proofs").rglob("*.json"):
        proof.unlink()
    said = service.run("status", "--json")
    unproven = json.loads(said.out)

    assert [each["base"]["proven_in"] for each in proven["rpo"]] == ["offsite", "offsite"]
    assert all(each["seconds"] is not None for each in proven["rpo"])
    assert all(each["forecast"]["seconds"] for each in proven["forecasts"])
    assert all(each["base"] for each in proven["windows"])
    assert [each["seconds"] for each in unproven["rpo"]] == [None, None]
    assert [each["forecast"]["seconds"] for each in unproven["forecasts"]] == [None, None]
    assert "no proven base" in unproven["rpo"][0]["seen"]
    said.require(63, "RPO of primary")


def test_status_tells_a_stalled_archive_by_the_beat_of_the_source(
    protected_service: ProtectedService,
) -> None:
    cluster = protected_service.cluster
    table = PostgresHeartbeat(source_settings(cluster))
    table.install()
    try:
        with table.writing(5.0) as heart:
            heart.beat()
            cluster.archive_everything()
            beat = heart.beat()
        seen = json.loads(protected_service.run("status", "--json", KB_DR_HEARTBEAT="on").out)
    finally:
        table.remove()

    primary = seen["rpo"][0]
    assert primary["source"] == "heartbeat"
    assert 0 < primary["live_seconds"] <= primary["seconds"]
    assert beat is not None
    assert "heartbeat" in {each["subject"] for each in seen["objectives"]}


def test_status_as_tables_shows_windows_and_the_forecast(
    protected_service: ProtectedService,
) -> None:
    said = protected_service.run("status").out

    for words in ("Recoverable", "proven base", "Disaster now: ready in about", "from offsite"):
        assert words in said
