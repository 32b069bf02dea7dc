"""The source is described, locked and fingerprinted on a real server, and refusals are clear."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters import postgres_source
from kb_dr.adapters.pg_basebackup import PgBaseBackup, RunningBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_session import Session, session
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.table_sample import fingerprint_table, look_up_rows
from kb_dr.domain.fingerprint import Fingerprint, TableFingerprint, differences
from kb_dr.domain.lsn import Lsn
from kb_dr.errors import (
    BackupInProgress,
    ConfigurationError,
    PostgresCommandFailed,
    PostgresError,
    PostgresUnavailable,
    SourceLockLost,
)
from kb_dr.settings import Secret
from kb_dr_tests.postgres_servers import RunningCluster, fill, programs_of, source_settings


@pytest.fixture(scope="module")
def cluster(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    with RunningCluster(postgres_programs, tmp_path_factory.mktemp("source")) as running:
        fill(running)
        yield running


@pytest.fixture
def source(cluster: RunningCluster) -> PostgresSource:
    return PostgresSource(source_settings(cluster))


def test_the_next_backup_need_not_wait_until_the_server_ended_the_session_before(
    source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    lingering: list[psycopg.Connection] = []
    with monkeypatch.context() as slow:
        slow.setattr(psycopg.Connection, "close", lambda session: lingering.append(session))
        with source.exclusive():
            pass

    with source.exclusive() as lock:
        lock.check()

    assert lingering
    for each in lingering:
        each.close()


def found_differences(cluster: RunningCluster, fingerprint: Fingerprint) -> list[str]:
    """What a proof would say if the cluster were a restored one."""
    seen = []
    with session(source_settings(cluster)) as asked:
        for table in fingerprint.tables:
            found = look_up_rows(asked, table, fingerprint.restore_point)
            assert found is not None
            compared = differences(table, found.rows, found.digests, found.row_versions)
            seen += [each.seen for each in compared]
    return seen


def test_a_description_names_what_a_restore_needs(
    cluster: RunningCluster, source: PostgresSource
) -> None:
    found = source.describe()

    assert found.system_identifier == cluster.system_identifier
    assert found.major == 16
    assert found.segment_bytes == 16 * 1024 * 1024
    assert found.data_checksums
    assert found.schema_version == "20260101_first"
    assert found.extensions["vector"]
    assert found.settings["max_connections"] == "30"
    assert found.settings["lc_collate"] == "C.UTF-8"
    assert found.invalid_indexes == ()
    (vectors,) = found.vectors
    assert (vectors.table, vectors.column) == ("public.knowledge_entries", "place")
    assert (vectors.dimensions, vectors.queries) == (8, 100)
    assert 0.8 < vectors.recall_at_10 <= 1.0


def test_every_vector_index_is_measured_and_an_invalid_index_is_named(
    cluster: RunningCluster, source: PostgresSource
) -> None:
    cluster.query("create table places (id int primary key, place vector(3))")
    cluster.query("insert into places select i, array[i, 1, 1]::vector"
                  " from generate_series(1, 200) i")  # fmt: skip
    cluster.query("create index places_l2 on places using hnsw (place vector_l2_ops)")
    cluster.query("create index places_id on places (id)")
    cluster.query("update pg_index set indisvalid = false"
                  " where indexrelid = 'places_id'::regclass")  # fmt: skip
    try:
        found = source.describe()

        assert {each.index: each.recall_at_10 for each in found.vectors}["places_l2"] > 0.9
        assert found.invalid_indexes == ("public.places_id",)
    finally:
        cluster.query("drop table places")


def test_a_fingerprint_finds_every_kind_of_change(
    cluster: RunningCluster, source: PostgresSource
) -> None:
    fingerprint, notes = source.fingerprint("kb-full-20260101-000000", ())

    tables = {table.table: table for table in fingerprint.tables}
    assert set(tables) == {
        "public.alembic_version",
        "public.knowledge_entries",
        "public.organizations",
    }
    assert tables["public.knowledge_entries"].rows == 1500
    assert len(tables["public.knowledge_entries"].sample) >= 1000
    assert notes == ()
    assert found_differences(cluster, fingerprint) == []
    try:
        cluster.query("update organizations set name = 'another' where id = 7")
        assert "1 of 20 sampled rows differ" in found_differences(cluster, fingerprint)
        cluster.query("delete from organizations where id = 7")
        assert found_differences(cluster, fingerprint) == [
            "19 rows, expected 20",
            "1 of 20 sampled rows are missing",
        ]
    finally:
        cluster.query("delete from organizations where id = 7")
        cluster.query("insert into organizations values (7, 'organization 7')")


def test_rows_that_move_at_the_restore_point_are_not_promised(
    cluster: RunningCluster, source: PostgresSource
) -> None:
    cluster.query("create table busy (id bigint primary key, seen int)")
    cluster.query("insert into busy select i, 0 from generate_series(1, 50) i")
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            number = 1000
            while not stop.is_set():
                number += 1
                connection.execute("insert into busy values (%s, 0)", [number])
                connection.execute("update busy set seen = seen + 1 where id = 1")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        cluster.wait_for("select exists (select from busy where id > 1000)")
        fingerprint, notes = source.fingerprint("kb-full-20260101-000001", ("public.busy",))
    finally:
        stop.set()
        writer.join()
        cluster.query("drop table busy")

    (table,) = fingerprint.tables
    assert table.rows is None
    assert table.row_versions is None
    assert len(table.sample) >= 49
    assert notes[0] == "public.busy changed at the restore point: its count is not kept"


def test_the_restore_point_is_told_before_tables_are_waited_for_and_what_it_raises_ends_all(
    cluster: RunningCluster, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def endless(connection: Session, table: str, seed: str) -> TableFingerprint:
        began.set()
        connection.execute("select pg_sleep(3600)")
        raise AssertionError("it was not cancelled")

    def told(lsn: Lsn) -> None:
        assert began.wait(60)
        raise PostgresError(f"switched before {lsn}")

    monkeypatch.setattr(postgres_source, "fingerprint_table", endless)
    with pytest.raises(PostgresError, match="switched before"):
        source.fingerprint("kb-full-20260101-000009", (), told)
    cluster.wait_for(
        "select not exists (select from pg_stat_activity where query like '%pg_sleep(3600)%'"
        " and state = 'active' and pid <> pg_backend_pid())"
    )


def test_keys_of_several_columns_and_awkward_names_are_found_again(
    cluster: RunningCluster, source: PostgresSource
) -> None:
    cluster.query('create schema "Odd one"')
    try:
        cluster.query('create table "Odd one"."a ""b" (n int, "Key %" text, t timestamptz,'
                      ' v numeric, primary key ("Key %", n))')  # fmt: skip
        cluster.query('insert into "Odd one"."a ""b" values (1, \'x/\'\'"%s\', now(), null),'
                      " (2, '', null, 1.50)")  # fmt: skip

        fingerprint, _ = source.fingerprint("kb-full-20260101-000002", ())

        table = next(each for each in fingerprint.tables if "Odd" in each.table)
        assert table.key_columns == ("Key %", "n")
        assert len(table.sample) == 2
        assert found_differences(cluster, fingerprint) == []
    finally:
        cluster.query('drop schema "Odd one" cascade')


def test_a_critical_table_that_is_not_there_is_named(source: PostgresSource) -> None:
    with pytest.raises(ConfigurationError, match=r"public\.nothing"):
        source.fingerprint("kb-full-20260101-000003", ("public.nothing",))


def test_a_second_backup_of_the_same_server_is_refused(source: PostgresSource) -> None:
    with source.exclusive() as lock:
        lock.check()
        with pytest.raises(BackupInProgress), source.exclusive():
            pass
        lock.check()

    with source.exclusive() as lock:
        lock.check()


def test_losing_the_session_loses_the_lock(cluster: RunningCluster, source: PostgresSource) -> None:
    with source.exclusive() as lock:
        cluster.query("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")

        with pytest.raises(SourceLockLost):
            lock.check()


def test_a_server_that_is_not_there_and_a_password_that_is_wrong_are_told(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    nowhere = replace(source_settings(cluster), host=str(tmp_path), password=Secret("hunter2"))

    with pytest.raises(PostgresUnavailable) as raised:
        PostgresSource(nowhere).describe()

    assert "hunter2" not in str(raised.value)
    assert raised.value.hint


def test_configuration_outside_the_data_directory_is_read(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path) as cluster:
        outside = tmp_path / "pg_hba.conf"
        outside.write_text("local all all trust\n")
        postgres_programs.unprivileged.give(outside)
        cluster.settings["hba_file"] = str(outside)
        cluster.configure()
        cluster.stop()
        cluster.start()

        found = PostgresSource(source_settings(cluster)).configuration()

        assert found.files == {str(outside): b"local all all trust\n"}
        assert found.unread == ()


def test_a_table_truncated_while_it_is_looked_at_is_not_promised_to_be_empty(
    cluster: RunningCluster, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.query("create table short_lived (id int primary key)")
    cluster.query("insert into short_lived select generate_series(1, 10)")
    cluster.query("create table dropped (id int primary key)")

    def migrate_first(connection: Session, table: str, seed: str) -> TableFingerprint:
        if table == "public.dropped":
            cluster.query("drop table if exists dropped")
        if table == "public.short_lived":
            cluster.query("truncate short_lived")
        return fingerprint_table(connection, table, seed)

    monkeypatch.setattr(postgres_source, "fingerprint_table", migrate_first)
    try:
        fingerprint, notes = source.fingerprint("kb-full-20260101-000004", ())
    finally:
        cluster.query("drop table short_lived")

    names = {table.table for table in fingerprint.tables}
    assert "public.organizations" in names
    assert not names & {"public.short_lived", "public.dropped"}
    assert "public.short_lived was truncated, rewritten or dropped meanwhile" in notes


def test_a_table_locked_by_a_migration_keeps_no_backup_from_ending(
    cluster: RunningCluster, source: PostgresSource
) -> None:
    """The lock is in the WAL: paused at the restore point nobody could look at that table."""
    with psycopg.connect(cluster.conninfo()) as migration:
        migration.execute("lock table organizations in access exclusive mode")
        fingerprint, notes = source.fingerprint("kb-full-20260101-000005", ())

    names = {table.table for table in fingerprint.tables}
    assert names
    assert "public.organizations" not in names
    assert "public.organizations was locked at the restore point, as by a migration" in notes


def test_a_table_too_large_to_be_read_in_time_is_noted(
    cluster: RunningCluster, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(connection: Session, table: str, seed: str) -> TableFingerprint:
        if table == "public.organizations":
            with connection.transaction():
                connection.execute("set local statement_timeout = '10ms'")
                connection.execute("select pg_sleep(600)")
        return fingerprint_table(connection, table, seed)

    monkeypatch.setattr(postgres_source, "fingerprint_table", too_large)
    fingerprint, notes = source.fingerprint("kb-full-20260101-000006", ())

    assert fingerprint.tables
    assert "public.organizations could not be read within 3600 s: it is not recorded" in notes


def test_an_unlogged_table_cannot_be_critical(
    cluster: RunningCluster, source: PostgresSource
) -> None:
    cluster.query("create unlogged table embeddings (id int primary key)")
    try:
        with pytest.raises(ConfigurationError, match="embeddings") as refused:
            source.fingerprint("kb-full-20260101-000007", ("public.embeddings",))
    finally:
        cluster.query("drop table embeddings")
    assert "unlogged" in refused.value.hint


def test_a_password_reaches_the_programs_and_nobody_else(tmp_path: Path) -> None:
    secret = "correct horse 'battery'"
    programs = programs_of(17)
    with RunningCluster(programs, tmp_path, settings={"summarize_wal": "on"}) as cluster:
        quoted = secret.replace("'", "''")
        cluster.query(f"create role backup login superuser replication password '{quoted}'")
        rules = cluster.data / "pg_hba.conf"
        rules.write_text("local all postgres trust\nlocal all,replication backup scram-sha-256\n")
        cluster.reload()
        settings = replace(source_settings(cluster), user="backup", password=Secret(secret))

        PostgresSource(settings).archiver()
        program = PgBaseBackup(programs, settings)
        with program.stream("kb-full-20260101-000005") as full:
            while full.read(1_000_000):
                pass
            parent = full.finish().postgres_manifest_zst
        with program.stream("kb-incr-20260101-000006", parent_manifest_zst=parent) as stream:
            stream.read(10)
            assert isinstance(stream, RunningBaseBackup)
            words = Path(f"/proc/{stream._output.process.pid}/cmdline").read_bytes()
            while stream.read(1_000_000):
                pass
            stream.finish()
        wrong = PgBaseBackup(programs, replace(settings, password=Secret("another secret")))
        for made, refused in ((None, PostgresUnavailable), (parent, PostgresCommandFailed)):
            with (
                pytest.raises(refused) as raised,
                wrong.stream("kb-full-20260101-000007", parent_manifest_zst=made) as cut,
            ):
                cut.read(10)
            assert "password authentication failed" in str(raised.value)
            assert "another secret" not in str(raised.value)

        assert b"backup" in words
        assert b"battery" not in words


def test_a_server_that_falls_silent_ends_the_stream(
    postgres_programs: PostgresPrograms, cluster: RunningCluster
) -> None:
    cluster.query("create table silent as select repeat(md5(i::text), 30) as text"
                  " from generate_series(1, 50000) i")  # fmt: skip
    program = PgBaseBackup(postgres_programs, source_settings(cluster), stall_seconds=2.0)
    sender = 0

    def read_until_silent() -> None:
        nonlocal sender
        with program.stream("kb-full-20260101-000007") as stream:
            stream.read(10)
            sender = cluster.value("select pid from pg_stat_replication limit 1")
            os.kill(sender, signal.SIGSTOP)
            while stream.read(1_000_000):
                pass

    try:
        with pytest.raises(PostgresUnavailable, match="no byte within 2 s"):
            read_until_silent()
    finally:
        if sender:
            os.kill(sender, signal.SIGCONT)
        cluster.query("drop table silent")
