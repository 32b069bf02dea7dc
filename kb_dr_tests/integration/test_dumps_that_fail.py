"""Who is cut off, or may not see all of it, gets no dump; a role that only reads gets all of it."""

import psycopg
import pytest

from kb_dr.domain.dump import NO_PASSWORDS
from kb_dr.errors import (
    ConfigurationError,
    PostgresCommandFailed,
    PostgresError,
    PostgresUnavailable,
)
from kb_dr_tests.taken_dumps import CODEC, Dumps


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
