"""What is done to a database while it is dumped goes on, and changes nothing of the dump."""

import threading

import psycopg
import pytest

from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.domain.dump import DumpFormat
from kb_dr.errors import (
    BackupInProgress,
)
from kb_dr_tests.postgres_servers import source_settings
from kb_dr_tests.taken_dumps import Dumps


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


def test_two_dumps_exclude_each_other_and_no_base_backup(dumps: Dumps) -> None:
    settings = source_settings(dumps.cluster, dumps.database)
    with dumps.source().exclusive(), pytest.raises(BackupInProgress, match="another dump"):
        dumps.take()
    with PostgresSource(settings).exclusive():
        assert dumps.take().manifest.id in dumps.backups()
