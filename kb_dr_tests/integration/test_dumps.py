"""A logical dump holds exactly what its snapshot shows, and says what it is."""

from pathlib import Path

import psycopg

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.lsn import Lsn
from kb_dr_tests.dumped_service import DumpedService
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.taken_dumps import Dumps, Loaded, load


def test_a_dump_says_what_it_is(dumped_service: DumpedService) -> None:
    manifest = dumped_service.stored.manifest

    assert manifest.id == dumped_service.backup_id
    assert manifest.is_dump
    assert manifest.dump is not None
    assert manifest.dump.roles == ("kb_app", "kb_reader", "postgres")
    assert manifest.dump.program == dumped_service.cluster.programs.version
    assert manifest.dump.shape.encoding == "UTF8"
    assert manifest.source.schema_version == "20260101_first"
    assert "vector" in manifest.source.extensions
    assert [each.queries for each in manifest.source.vectors] == [100]
    assert manifest.wal.start == manifest.wal.stop == manifest.fingerprint.lsn > Lsn(0)
    assert manifest.fingerprint.restore_point == manifest.id
    rows = {each.table: each.rows for each in manifest.fingerprint.tables}
    assert rows == {
        '"Wissen; drop"."Ort ""é"" %s"': 40,
        "public.alembic_version": 1,
        "public.knowledge_entries": 300,
        "public.notes": 100,
        "public.nothing_in_it": 0,
        "public.organizations": 20,
    }
    assert {each.row_versions for each in manifest.fingerprint.tables} == {None}


def test_what_was_dumped_is_what_is_loaded(dumped_service: DumpedService) -> None:
    service = dumped_service
    stored = service.stored
    installation = service.opened()
    repository = installation.repository("primary")
    coded = b"".join(repository.get(each) for each in stored.manifest.chunks)
    archive = service.directory / "loaded.dump"
    archive.write_bytes(installation.codec.decode(coded))
    service.cluster.query("create database loaded template template0")
    service.cluster.programs.run(
        "pg_restore", "--exit-on-error", f"--dbname={service.cluster.conninfo('loaded')}", archive
    )

    loaded = Loaded(service.cluster, "loaded")
    assert loaded.differences(stored) == ()
    assert loaded.value("select sum(length(data)) from pg_largeobject") == 12_000
    assert (
        loaded.value("select relowner::regrole::text from pg_class where relname = 'organizations'")
        == "kb_app"
    )


def test_rows_of_every_kind_of_table_are_counted_and_dumped(dumps: Dumps) -> None:
    dumps.query(
        "create table whole (id int, at date, primary key (id, at)) partition by range (at)",
        "create table part_1 partition of whole for values from ('2026-01-01') to ('2026-02-01')",
        "create table part_2 partition of whole default",
        "insert into whole select i, '2026-01-01'::date + i from generate_series(1, 60) i",
        "create table parent (id int primary key)",
        "create table child (more text) inherits (parent)",
        "insert into parent select generate_series(1, 7)",
        "insert into child select i, 'c' from generate_series(1, 9) i",
        "create unlogged table fleeting as select generate_series(1, 5) i",
        "create table made (id int primary key, twice int generated always as (id * 2) stored)",
        "insert into made values (1), (2)",
        "create table odd (f double precision primary key, at timestamptz, b bytea, n numeric)",
        "insert into odd values (0.1, 'infinity', '\\x00ff', 'NaN'), (1e-300, now(), '', 1e-20)",
        "alter database "
        + psycopg.sql.Identifier(dumps.database).as_string()
        + " set datestyle to 'German'",
    )

    stored = dumps.take()

    rows = {each.table: each.rows for each in stored.manifest.fingerprint.tables}
    assert rows == {
        "public.child": 9,
        "public.made": 2,
        "public.odd": 2,
        "public.parent": 7,
        "public.part_1": 30,
        "public.part_2": 30,
    }
    loaded = dumps.loaded(stored)
    assert loaded.differences(stored) == ()
    assert loaded.value("select count(*) from fleeting") == 5


def test_an_empty_database_is_dumped(dumps: Dumps) -> None:
    stored = dumps.take()

    assert stored.manifest.fingerprint.tables == ()
    assert stored.manifest.notes == ()
    assert dumps.loaded(stored).differences(stored) == ()


def test_tables_of_an_extension_are_left_to_it(dumps: Dumps) -> None:
    dumps.query(
        "create extension vector",
        "create table reference (id int)",
        "insert into reference values (1)",
        "alter extension vector add table reference",
        "create table own (id int)",
    )

    stored = dumps.take()

    assert [each.table for each in stored.manifest.fingerprint.tables] == ["public.own"]


def test_a_directory_is_written_by_several_jobs_in_the_same_snapshot(
    dumps: Dumps, tmp_path: Path
) -> None:
    dumps.query(
        "create table one as select generate_series(1, 100) i",
        "create table two as select generate_series(1, 200) i",
    )
    target = tmp_path / "dump.dir"
    with dumps.source().freeze(()) as frozen:
        dumps.query("insert into one values (0)", "insert into two values (0)")
        dumps.program().write_directory(frozen, target, jobs=2)
    dumps.cluster.query(f'create database "{dumps.database}_dir"')
    dumps.cluster.programs.run(
        "pg_restore", "--exit-on-error", "--jobs=2",
        f"--dbname={dumps.cluster.conninfo(dumps.database + '_dir')}", target,
    )  # fmt: skip

    counts = dumps.cluster.query(
        "select (select count(*) from one), (select count(*) from two)",
        database=f"{dumps.database}_dir",
    )
    assert counts == [(100, 200)]


def test_a_standby_is_dumped_too(postgres_programs: PostgresPrograms, tmp_path: Path) -> None:
    """Where the primary is to be spared: its snapshot lies on the same line."""
    with RunningCluster(postgres_programs, tmp_path / "primary server") as primary:
        primary.query("create table notes as select generate_series(1, 100) i")
        standby = RunningCluster(postgres_programs, tmp_path / "standby")
        postgres_programs.run(
            "pg_basebackup", f"--dbname={primary.conninfo()}", "--checkpoint=fast",
            "--write-recovery-conf", f"--pgdata={standby.data}",
        )  # fmt: skip
        standby.configure()
        try:
            standby.start()
            primary.query("insert into notes values (101)")
            lsn = primary.value("select pg_current_wal_lsn()::text")
            standby.wait_for("select pg_last_wal_replay_lsn() >= %s::pg_lsn", [lsn])
            dumps = Dumps(standby, "postgres", tmp_path / "repository")

            stored = dumps.take()
        finally:
            standby.close()

        assert [each.rows for each in stored.manifest.fingerprint.tables] == [101]
        assert stored.manifest.wal.timeline == 1
        assert stored.manifest.wal.start >= Lsn.parse(lsn)
        assert stored.manifest.source.system_identifier == primary.system_identifier
        loaded = load(dumps.repository, primary, stored, "loaded")
        assert loaded.differences(stored) == ()
