"""Writers of the catalog at once, and tables that are older, newer, harmed or somebody else's."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.catalog_migrations import MIGRATIONS, VERSION
from kb_dr.errors import CatalogError, CatalogUnavailable
from kb_dr_tests.catalog_database import (
    CatalogDatabase,
    fill_buckets,
)
from kb_dr_tests.made_installation import MadeInstallation


def statuses(database: CatalogDatabase) -> dict[object, object]:
    """Backup id to status."""
    return {row[0]: row[1] for row in database.query("select backup_id, status from backup_logs")}


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Do all of it at once; what was raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


# several at once


def test_two_rebuilds_and_a_sync_at_once_all_come_to_the_same_tables(
    tmp_path: Path, made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    before = database.contents()

    failures = at_once(
        made.rebuild_catalog,
        made.rebuild_catalog,
        lambda: made.sync_catalog(wait_seconds=60),
    )

    assert failures == []
    assert database.contents() == before


def test_a_reader_sees_all_of_the_old_or_all_of_the_new(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    database.query(
        "create function linger() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(0.2); return null; end'"
    )
    database.query("create trigger linger before insert on backup_logs execute function linger()")
    seen: set[object] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.update(database.query("select count(*), count(checksum_md5) from backup_logs"))

    def rebuild() -> None:
        try:
            made.rebuild_catalog()
        finally:
            done.set()

    assert at_once(read, rebuild) == []
    assert seen == {(6, 5)}


def test_a_note_does_not_wait_for_a_long_writer(
    made: MadeInstallation, database: CatalogDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    stored = made.has_backup()
    with database.catalog.writing(wait_seconds=0), caplog.at_level(logging.WARNING):
        made.note_in_catalog(stored.manifest.backup_id, "primary")
        with pytest.raises(CatalogUnavailable, match="another writer"):
            made.sync_catalog()

    assert "another writer is at work" in caplog.text
    assert statuses(database) == {}
    made.sync_catalog()
    assert statuses(database) == {stored.manifest.id: "completed"}


def test_the_next_writer_need_not_wait_until_the_server_ended_the_session_before(
    made: MadeInstallation, database: CatalogDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.has_backup()
    lingering: list[psycopg.Connection] = []
    with monkeypatch.context() as slow:
        slow.setattr(psycopg.Connection, "close", lambda session: lingering.append(session))
        made.sync_catalog()

    made.sync_catalog()

    for each in lingering:
        each.close()


# migrations


def _of_version_1(database: CatalogDatabase) -> None:
    with psycopg.connect(database.cluster.conninfo(database.name), autocommit=True) as connection:
        connection.execute(
            "create table catalog_migrations (version integer primary key,"
            " applied_at timestamptz not null default now())"
        )
        connection.execute("insert into catalog_migrations (version) values (1)")
        connection.execute(MIGRATIONS[0].encode())
        connection.execute(
            "insert into backup_logs (backup_id, backup_type, backup_timestamp, status)"
            " values ('kb-full-20190101-000000', 'full', now(), 'completed')"
        )


def test_tables_of_version_1_are_brought_to_this_version_and_in_line(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    _of_version_1(database)

    made.sync_catalog()

    upgraded = database.contents()
    assert database.query("select max(version) from catalog_migrations") == [(VERSION,)]
    database.drop()
    database.make()
    made.rebuild_catalog()
    assert database.contents() == upgraded


def test_a_migration_that_fails_in_the_middle_leaves_the_version_before(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    _of_version_1(database)
    database.query("create table catalog_state (theirs text)")

    with pytest.raises(CatalogError, match="already exists"):
        made.sync_catalog()

    assert database.query("select max(version) from catalog_migrations") == [(1,)]
    assert database.query("select to_regclass('backup_manifests')") == [(None,)]


def test_many_that_migrate_at_once_migrate_once(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    _of_version_1(database)

    failures = at_once(*[lambda: made.sync_catalog(wait_seconds=60)] * 4)

    assert failures == []
    assert database.query("select count(*) from catalog_migrations") == [(VERSION,)]
    assert made.check_catalog().agrees


def test_tables_of_a_newer_version_are_left_alone(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    made.sync_catalog()
    database.query(f"insert into catalog_migrations (version) values ({VERSION + 1})")

    for verb in (made.sync_catalog, made.rebuild_catalog):
        with pytest.raises(CatalogError, match=f"version {VERSION + 1}, expected {VERSION}"):
            verb()


def test_a_table_of_somebody_else_is_never_touched(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    database.query("create table backup_logs (theirs text)")
    database.query("insert into backup_logs values ('theirs')")

    for verb in (made.sync_catalog, made.rebuild_catalog):
        with pytest.raises(CatalogError, match="kb-dr did not make"):
            verb()

    assert database.query("select * from backup_logs") == [("theirs",)]


@pytest.mark.parametrize(
    "harm",
    [
        "drop table backup_proofs",
        "alter table backup_logs drop column error_message",
        "drop index idx_backup_logs_status",
        "alter table backup_copies alter column standing type text",
    ],
)
def test_tables_that_were_changed_are_made_anew(
    made: MadeInstallation, database: CatalogDatabase, harm: str
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    before = database.contents()
    indexes = database.query("select indexdef from pg_indexes where schemaname = 'public'")
    database.query(harm)

    made.rebuild_catalog()

    assert database.contents() == before
    again = database.query("select indexdef from pg_indexes where schemaname = 'public'")
    assert sorted(again) == sorted(indexes)


def test_a_rebuild_keeps_what_others_were_granted_and_views_of_theirs(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    database.query("create view bad as select * from backup_logs where status = 'damaged'")
    database.query("grant select on backup_logs to public")

    made.rebuild_catalog()

    assert database.query("select backup_id from bad") == [("kb-full-20261121-020000",)]
    assert database.query("select has_table_privilege('pg_monitor', 'backup_logs', 'select')") == [
        (True,)
    ]
