"""A logical dump holds exactly what its snapshot shows, whatever is done to the server."""

import threading
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.domain.dump import NO_PASSWORDS, DumpFormat
from kb_dr.domain.lsn import Lsn
from kb_dr.errors import (
    BackupInProgress,
    ConfigurationError,
    PostgresCommandFailed,
    PostgresError,
    PostgresUnavailable,
)
from kb_dr_tests.dumped_service import DumpedService
from kb_dr_tests.postgres_servers import RunningCluster, source_settings
from kb_dr_tests.taken_dumps import CODEC, Dumps, Loaded, load


@pytest.fixture
def dumps(dumped_service: DumpedService, request: pytest.FixtureRequest, tmp_path: Path) -> Dumps:
    """An empty database of its own on the shared server."""
    name = request.node.name[:50]
    dumped_service.cluster.query(f'create database "{name}"')
    return Dumps(dumped_service.cluster, name, tmp_path / "primary")


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


def test_writes_go_on_during_a_dump_and_it_is_consistent(dumps: Dumps) -> None:
    dumps.query(
        "create table left_side (id int primary key, amount int)",
        "create table right_side (id int primary key, amount int)",
        "insert into left_side select i, 100 from generate_series(1, 2000) i",
        "insert into right_side select i, 0 from generate_series(1, 2000) i",
    )
    over, moved = threading.Event(), [0]

    def move() -> None:
        with psycopg.connect(dumps.cluster.conninfo(dumps.database)) as connection:
            connection.execute("set lock_timeout = '5s'")
            while not over.is_set():
                one = moved[0] % 2000 + 1
                connection.execute("update left_side set amount = amount - 1 where id = %s", (one,))
                connection.execute(
                    "update right_side set amount = amount + 1 where id = %s", (one,)
                )
                connection.execute("insert into right_side values (%s, 0)", (10_000 + moved[0],))
                connection.execute("insert into left_side values (%s, 0)", (10_000 + moved[0],))
                connection.commit()
                moved[0] += 1

    def meanwhile(_: object) -> None:
        seen = moved[0]
        while moved[0] < seen + 100 and writer.is_alive():
            over.wait(0.001)

    writer = threading.Thread(target=move)
    writer.start()
    try:
        stored = dumps.take(meanwhile)
    finally:
        over.set()
        writer.join()

    assert moved[0] >= 100
    loaded = dumps.loaded(stored)
    assert loaded.differences(stored) == ()
    assert (
        loaded.value(
            "select (select sum(amount) from left_side) + (select sum(amount) from right_side)"
        )
        == 200_000
    )
    assert (
        loaded.value("select (select count(*) from left_side) - (select count(*) from right_side)")
        == 0
    )
    assert loaded.value("select sum(amount) from right_side") < moved[0]  # type: ignore[operator]  # a number


def test_nothing_dumped_is_dropped_or_emptied_meanwhile(dumps: Dumps) -> None:
    dumps.query(
        "create table kept as select generate_series(1, 50) i",
        "create unlogged table fleeting as select 1 i",
    )
    refused = []

    def meanwhile(_: object) -> None:
        for statement in (
            "drop table kept",
            "truncate kept",
            "truncate fleeting",
            "alter table kept alter i type bigint",
        ):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                dumps.query("set lock_timeout = '20ms'", statement)
            refused.append(statement)

    stored = dumps.take(meanwhile)

    assert len(refused) == 4
    assert dumps.loaded(stored).differences(stored) == ()
    dumps.query("drop table kept")


def test_the_snapshot_stands_before_pg_dump_looks(dumps: Dumps) -> None:
    """The window between the two: what happens there is in neither, or blocked."""
    dumps.query(
        "create table alembic_version (version_num text)",
        "insert into alembic_version values ('first')",
        "create table notes (id int primary key)",
        "insert into notes values (1)",
    )
    source, program = dumps.source(), dumps.program()
    with source.freeze(()) as frozen:
        dumps.query(
            "update alembic_version set version_num = 'second'",
            "insert into notes values (2)",
            "create table later as select 1 i",
        )
        with pytest.raises(psycopg.errors.LockNotAvailable):
            dumps.query("set lock_timeout = '20ms'", "truncate notes")
        with program.stream(frozen, DumpFormat.PLAIN) as stream:
            said = b""
            while data := stream.read():
                said += data
            end = stream.finish()
        fingerprint, _ = frozen.fingerprint("seed")
        described = frozen.describe()

    assert described.schema_version == "first"
    assert [each.rows for each in fingerprint.tables] == [1, 1]
    assert b"first" in said
    assert b"second" not in said
    assert b"later" not in said
    assert end.plain_bytes == len(said)
    assert program.globals()


def test_a_migration_that_holds_a_table_is_named_and_nothing_is_stored(dumps: Dumps) -> None:
    dumps.query('create table "being changed" (id int)', "create table other (id int)")
    dumps.lock_seconds = 0.1
    with psycopg.connect(dumps.cluster.conninfo(dumps.database)) as migration:
        migration.execute('alter table "being changed" add more text')

        with pytest.raises(PostgresUnavailable, match='"being changed"') as raised:
            dumps.take()

        # It was not held up itself, and nothing waits behind it.
        dumps.query("select 1 from other")
    assert raised.value.retryable
    assert dumps.backups() == []
    assert dumps.failures() == 1
    assert dumps.sessions() == []
    dumps.take()


def test_a_dump_waits_for_a_migration_without_holding_anything(dumps: Dumps) -> None:
    dumps.query("create table a (id int)", "create table b (id int)")
    with psycopg.connect(dumps.cluster.conninfo(dumps.database)) as migration:
        migration.execute("alter table b add more text")
        taken = []
        taking = threading.Thread(target=lambda: taken.append(dumps.take()))
        taking.start()
        dumps.cluster.wait_for(
            "select count(*) = 2 from pg_stat_activity"
            " where datname = %s and application_name = 'kb-dr'",
            [dumps.database],
        )
        # In the other order: a dump that waited for b with a locked would be a deadlock.
        migration.execute("set lock_timeout = '5s'")
        migration.execute("alter table a add more text")
        migration.commit()
        taking.join()

    assert dumps.loaded(taken[0]).differences(taken[0]) == ()
    assert [each.columns for each in taken[0].manifest.fingerprint.tables] == [("id", "more")] * 2


def test_timeouts_of_the_database_do_not_end_a_dump(dumps: Dumps) -> None:
    """Its session holds the snapshot, and idles in its transaction, for as long as pg_dump runs."""
    dumps.query("create table notes as select generate_series(1, 50000) i")
    for name in ("idle_in_transaction_session_timeout", "idle_session_timeout", "lock_timeout"):
        dumps.query(f"alter database \"{dumps.database}\" set {name} = '400ms'")

    stored = dumps.take(lambda _: threading.Event().wait(0.6))

    assert dumps.loaded(stored).differences(stored) == ()


def test_an_empty_database_is_dumped(dumps: Dumps) -> None:
    stored = dumps.take()

    assert stored.manifest.fingerprint.tables == ()
    assert stored.manifest.notes == ()
    assert dumps.loaded(stored).differences(stored) == ()


def test_two_dumps_exclude_each_other_and_no_base_backup(dumps: Dumps) -> None:
    settings = source_settings(dumps.cluster, dumps.database)
    with dumps.source().exclusive(), pytest.raises(BackupInProgress, match="another dump"):
        dumps.take()
    with PostgresSource(settings).exclusive():
        assert dumps.take().manifest.id in dumps.backups()


def test_a_role_that_only_reads_is_enough(dumps: Dumps) -> None:
    dumps.query(
        "create table notes as select generate_series(1, 5) i",
        "create role only_reads login",
        "grant select on all tables in schema public to only_reads",
        "create role with_password login password 'not to be seen'",
    )
    dumps.user = "only_reads"

    stored = dumps.take()

    assert dumps.loaded(stored).differences(stored) == ()
    assert any("no passwords" in note for note in stored.manifest.notes)
    own = stored.manifest.dump
    assert own is not None
    assert own.globals is not None
    roles = CODEC.decode(dumps.repository.get(own.globals))
    assert roles.startswith(NO_PASSWORDS)
    assert b"with_password" in roles
    assert b"SCRAM" not in roles


def test_names_of_roles_are_read_as_utf8_whatever_the_database_is_written_in(dumps: Dumps) -> None:
    name, dumps.database = dumps.database, f"{dumps.database}_latin"
    dumps.cluster.query(
        f"create database {dumps.database} template template0 encoding 'LATIN1' locale 'C'"
    )
    dumps.query("set client_encoding to 'UTF8'", 'create role "jürgen"')
    try:
        roles = dumps.program().globals()
    finally:
        dumps.query("set client_encoding to 'UTF8'", 'drop role "jürgen"')
        dumps.cluster.query(f"drop database {dumps.database}")
        dumps.database = name

    assert roles is not None
    assert 'CREATE ROLE "jürgen";' in roles.decode().splitlines()


def test_a_role_that_may_not_read_a_table_dumps_nothing(dumps: Dumps) -> None:
    dumps.query("create table secret (id int)", "create role sees_nothing login")
    dumps.user = "sees_nothing"

    with pytest.raises(PostgresError, match="permission denied") as raised:
        dumps.take()

    assert "pg_read_all_data" in raised.value.hint
    assert dumps.backups() == []


def test_rows_a_policy_hides_are_an_error_and_no_smaller_dump(dumps: Dumps) -> None:
    dumps.query(
        "create table guarded as select generate_series(1, 5) i",
        "alter table guarded enable row level security",
        "create policy a_few on guarded using (i < 3)",
        "create role sees_some login",
        "grant pg_read_all_data to sees_some",
    )
    dumps.user = "sees_some"

    with pytest.raises(PostgresCommandFailed, match="row-level security"):
        dumps.take()

    assert dumps.backups() == []


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


def test_a_critical_table_that_is_not_there_is_said_first(dumps: Dumps) -> None:
    dumps.query("create table there (id int)")
    with pytest.raises(ConfigurationError, match="gone"):
        dumps.take(None, "there", "gone")
    stored = dumps.take(None, "there")

    assert [each.table for each in stored.manifest.fingerprint.tables] == ["public.there"]


def test_pg_dump_that_is_killed_leaves_no_dump(dumps: Dumps) -> None:
    dumps.query("create table notes as select generate_series(1, 500000) i")

    with pytest.raises(PostgresCommandFailed, match="signal 9"):
        dumps.take(lambda running: running.output.process.kill())

    assert dumps.backups() == []
    assert dumps.failures() == 1
    assert dumps.sessions() == []


def test_a_lost_snapshot_leaves_no_dump(dumps: Dumps) -> None:
    dumps.query("create table notes as select generate_series(1, 500000) i")

    def meanwhile(_: object) -> None:
        dumps.cluster.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
            " and application_name = 'kb-dr'",
            [dumps.database],
        )

    with pytest.raises(PostgresError):
        dumps.take(meanwhile)

    assert dumps.backups() == []
    assert dumps.failures() == 1


def test_an_interrupt_ends_the_program_and_the_session(dumps: Dumps) -> None:
    dumps.query("create table notes as select generate_series(1, 500000) i")
    pids = []

    def meanwhile(running: object) -> None:
        pids.append(running.output.process)  # type: ignore[attr-defined]  # a RunningDump
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dumps.take(meanwhile)

    assert pids[0].poll() is not None
    assert dumps.backups() == []
    assert dumps.failures() == 1
    dumps.cluster.wait_for(
        "select count(*) = 0 from pg_stat_activity"
        " where datname = %s and application_name = 'kb-dr'",
        [dumps.database],
    )


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
