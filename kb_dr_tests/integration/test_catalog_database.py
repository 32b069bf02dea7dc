"""The catalog database is a view: made of the buckets, and made again whenever it is lost."""

import logging
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.catalog_migrations import MIGRATIONS, VERSION
from kb_dr.adapters.postgres_catalog import PostgresCatalog
from kb_dr.domain import layout
from kb_dr.domain.catalog_rows import row_id
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import CatalogError, CatalogUnavailable, RepositoryUnavailable
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.controls import store_control_run
from kb_dr_tests.catalog_database import (
    TABLES,
    CatalogDatabase,
    catalogued,
    fill_buckets,
    has_failure,
    hold,
)
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.stored_backups import STARTED

_NUMBERS = count(1)


@pytest.fixture
def database(shared_primary: RunningCluster) -> Iterator[CatalogDatabase]:
    """An empty database of its own for each test."""
    made = CatalogDatabase(shared_primary, f"catalog_{next(_NUMBERS)}")
    yield made
    made.drop()


@pytest.fixture
def made(tmp_path: Path, database: CatalogDatabase) -> MadeInstallation:
    return catalogued(tmp_path, database)


def statuses(database: CatalogDatabase) -> dict[object, object]:
    """Backup id to status."""
    return {row[0]: row[1] for row in database.query("select backup_id, status from backup_logs")}


def look_into(catalog: PostgresCatalog) -> None:
    with catalog.reading():
        pass


def write_into(catalog: PostgresCatalog) -> None:
    with catalog.writing(wait_seconds=0):
        pass


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


# made of the buckets, whichever way


def test_a_catalog_that_was_dropped_is_rebuilt_identical(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    before = database.contents()
    database.drop()
    database.make()

    made.rebuild_catalog()

    assert database.contents() == before
    assert len(before["backup_logs"]) == 6
    assert all(before[table] for table in TABLES if table != "backup_problems")


def test_notes_and_syncs_come_to_the_same_rows_as_a_rebuild(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    stored = made.has_backup()
    backup = stored.manifest.backup_id
    made.note_in_catalog(backup, "primary")
    made.has_offsite_copy(stored)
    made.note_in_catalog(backup, "primary", "offsite")
    made.has_proof(stored, Verdict.PROVEN, copy="offsite")
    made.note_in_catalog(backup, "offsite", "primary")
    noted = statuses(database)
    hold(made, stored)
    made.note_in_catalog(backup, "primary")
    made.sync_catalog()
    synced = database.contents()

    made.rebuild_catalog()

    assert noted == {str(backup): "verified"}
    assert database.contents() == synced


def test_the_words_of_the_table_are_those_of_the_buckets(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    known = fill_buckets(made)

    made.rebuild_catalog()

    rows = database.query("select status, recovery_tested from backup_logs order by backup_id")
    assert rows == [
        ("verified", True),
        ("damaged", False),
        ("completed", False),
        ("expired", False),
        ("purged", True),
        ("failed", False),
    ]
    proven = known["proven"]
    (row,) = database.query(
        "select id, backup_type, backup_timestamp, backup_size_bytes, checksum_sha256,"
        " length(checksum_md5), location_local, location_s3, recovery_time_seconds,"
        " created_at, verified_at - test_timestamp, purged_at, error_message"
        f" from backup_logs where backup_id = '{proven.manifest.id}'"
    )
    assert row == (
        row_id(proven.manifest.id),
        "full",
        proven.manifest.started,
        proven.manifest.stored_bytes,
        proven.digest,
        32,
        "memory://primary/full/20261120-020000/",
        None,
        90,
        proven.manifest.finished,
        timedelta(seconds=90),
        None,
        None,
    )


def test_the_table_is_the_one_that_was_asked_for(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    made.sync_catalog()

    columns = database.query(
        "select attname, format_type(atttypid, atttypmod), attnotnull,"
        " pg_get_expr(adbin, adrelid) from pg_attribute"
        " left join pg_attrdef on adrelid = attrelid and adnum = attnum"
        " where attrelid = 'backup_logs'::regclass and attnum > 0 order by attnum"
    )
    assert columns == [
        ("id", "uuid", True, "gen_random_uuid()"),
        ("backup_id", "character varying(255)", True, None),
        ("backup_type", "character varying(50)", True, None),
        ("backup_timestamp", "timestamp with time zone", True, None),
        ("backup_size_bytes", "bigint", False, None),
        ("checksum_md5", "character varying(32)", False, None),
        ("checksum_sha256", "character varying(64)", False, None),
        ("location_local", "character varying(512)", False, None),
        ("location_s3", "character varying(512)", False, None),
        ("status", "character varying(50)", True, None),
        ("recovery_tested", "boolean", False, "false"),
        ("test_timestamp", "timestamp with time zone", False, None),
        ("recovery_time_seconds", "integer", False, None),
        ("created_at", "timestamp with time zone", False, "now()"),
        ("verified_at", "timestamp with time zone", False, None),
        ("purged_at", "timestamp with time zone", False, None),
        ("error_message", "text", False, None),
    ]
    found = database.query(
        "select indexname, indexdef from pg_indexes where tablename = 'backup_logs'"
    )
    indexes = {row[0]: row[1] for row in found}
    assert str(indexes["idx_backup_logs_timestamp"]).endswith("(backup_timestamp DESC)")
    assert str(indexes["idx_backup_logs_status"]).endswith("(status)")
    assert str(indexes["idx_backup_logs_type"]).endswith("(backup_type)")


def test_where_nothing_changed_nothing_is_read(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    known = fill_buckets(made)
    made.sync_catalog()
    for stored in known.values():
        key = layout.manifest_key(stored.manifest.backup_id)
        made.primary.failures[key] = RepositoryUnavailable("read: it was read")

    done = made.sync_catalog()

    assert (done.changed, done.removed, done.state.backups) == (0, 0, 6)


def test_a_round_of_controls_that_voids_proofs_takes_the_green_away(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    stored = made.has_backup()
    made.has_proof(stored, Verdict.PROVEN, copy="primary")
    made.sync_catalog()
    green = statuses(database)
    blind = made_run(
        stored.manifest.finished + timedelta(hours=9), {Damage.ROWS_DROPPED: ControlOutcome.BLIND}
    )
    store_control_run(list(made.memory.values()), blind)

    made.sync_catalog()

    assert green == {stored.manifest.id: "verified"}
    rows = database.query(
        "select status, recovery_tested, verified_at, standing, void from backup_logs"
        " join backup_copies using (backup_id) join backup_proofs using (backup_id)"
    )
    assert rows == [("completed", False, None, "void", True)]


# disagreement


def test_what_differs_is_named_in_both_directions_and_mended(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    right = database.contents()
    missing, surplus, changed = (
        "kb-full-20261120-020000", "kb-full-20190101-000000", "kb-full-20261121-020000",
    )  # fmt: skip
    for table in TABLES:
        database.query(f"delete from {table} where backup_id = '{missing}'")
    database.query(
        "insert into backup_logs (backup_id, backup_type, backup_timestamp, status)"
        f" values ('{surplus}', 'full', now(), 'verified')"
    )
    database.query(f"update backup_logs set status = 'verified' where backup_id = '{changed}'")
    database.query("insert into backup_problems values ('kb-full-20180101-000000', 'stray')")

    found = made.check_catalog()
    assert not found.agrees
    assert {(each.backup_id, each.catalog, each.buckets) for each in found.found} == {
        (missing, "nothing", "verified"),
        (surplus, "verified", "nothing"),
        (changed, "verified", "damaged"),
        ("kb-full-20180101-000000", "rows without one in backup_logs", "nothing"),
    }

    synced = made.sync_catalog()
    assert (synced.changed, synced.removed) == (1, 2)
    assert [each.backup_id for each in made.check_catalog().found] == [changed]

    made.rebuild_catalog()
    assert made.check_catalog().agrees
    assert database.contents() == right


def test_a_proof_that_is_in_the_bucket_alone_is_named(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    stored = made.has_backup()
    made.has_proof(stored, Verdict.PROVEN, copy="primary", minutes=5)
    made.sync_catalog()
    made.has_proof(stored, Verdict.FAILED, copy="primary", minutes=30)

    found = {(each.where, each.catalog, each.buckets) for each in made.check_catalog().found}

    assert ("backup_logs.status", "verified", "damaged") in found
    assert ("backup_proofs", "1 rows", "2 rows") in found


def test_a_backup_that_left_the_bucket_without_a_trace_leaves_the_catalog(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    gone, stays = made.has_backup(), made.has_backup(days=1)
    made.sync_catalog()
    made.forget(gone)

    done = made.sync_catalog()

    assert done.removed == 1
    assert statuses(database) == {stays.manifest.id: "completed"}


def test_a_copy_that_is_silent_is_unknown_and_nothing_of_it_is_removed(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    both, offsite_only, unseen = (made.has_backup(days=days) for days in range(3))
    made.has_offsite_copy(unseen)
    made.primary.delete(layout.manifest_key(unseen.manifest.backup_id))
    for each in (both, offsite_only):
        made.has_offsite_copy(each)
        made.has_proof(each, Verdict.PROVEN, copy="offsite")
    made.primary.delete(layout.manifest_key(offsite_only.manifest.backup_id))
    made.sync_catalog()
    before = database.contents()
    made.offsite.failures[""] = RepositoryUnavailable("list offsite: no answer")

    silent = made.sync_catalog()

    assert silent.state.problems == ("offsite: list offsite: no answer",)
    assert statuses(database) == {
        both.manifest.id: "completed",
        offsite_only.manifest.id: "unknown",
        unseen.manifest.id: "unknown",
    }
    assert database.query("select count(*) from backup_copies where standing = 'proven'") == [(0,)]
    assert not made.check_catalog().agrees
    made.offsite.failures.clear()
    made._closed.clear()  # as the next process begins
    made.sync_catalog()
    assert database.contents() == before


def test_without_any_copy_a_rebuild_leaves_the_catalog_as_it_is(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    before = database.contents()
    for memory in made.memory.values():
        memory.failures[""] = RepositoryUnavailable("list: no answer")

    with pytest.raises(CatalogError, match="no copy answers"):
        made.rebuild_catalog()

    assert database.contents() == before


def test_a_copy_that_breaks_off_in_the_middle_of_a_rebuild_changes_nothing(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    known = fill_buckets(made)
    made.sync_catalog()
    before = database.contents()
    key = layout.manifest_key(known["fresh"].manifest.backup_id)
    made.primary.failures[key] = RepositoryUnavailable("read: no answer")

    with pytest.raises(RepositoryUnavailable):
        made.rebuild_catalog()

    assert database.contents() == before


def test_a_record_that_cannot_be_read_is_named_and_nothing_of_that_backup_is_green(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    stored = made.has_backup()
    made.has_proof(stored, Verdict.PROVEN, copy="primary", minutes=5)
    key = layout.proof_key(stored.manifest.backup_id, "primary", "20261120-090000-dead")
    made.primary.put(key, b"{")

    made.rebuild_catalog()

    assert statuses(database) == {stored.manifest.id: "completed"}
    assert database.query("select standing from backup_copies") == [("unknown",)]
    ((problem,),) = database.query("select problem from backup_problems")
    assert key in str(problem)


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


# down, forbidden, wrong


def test_a_catalog_that_is_down_stops_nothing_and_is_caught_up(
    made: MadeInstallation, database: CatalogDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    stored = made.has_backup()
    database.drop()

    with caplog.at_level(logging.WARNING):
        made.note_in_catalog(stored.manifest.backup_id, "primary")

    assert f"the catalog does not show {stored.manifest.id}" in caplog.text
    database.make()
    made.sync_catalog()
    assert statuses(database) == {stored.manifest.id: "completed"}


def test_a_role_without_rights_is_told_what_it_needs(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    database.query("drop role if exists kb_limited")
    database.query("create role kb_limited login")
    limited = PostgresCatalog(replace(database.settings, user="kb_limited"))

    with pytest.raises(CatalogError, match="permission denied") as caught:
        write_into(limited)

    assert "needs CREATE" in caught.value.hint
    assert not isinstance(caught.value, CatalogUnavailable)


def test_a_database_that_is_not_there_is_no_outage(database: CatalogDatabase) -> None:
    missing = PostgresCatalog(replace(database.settings, database="no_such_database"))

    with pytest.raises(CatalogError, match="does not exist") as caught, missing.reading():
        pass

    assert not isinstance(caught.value, CatalogUnavailable)


def test_a_server_that_does_not_answer_is_an_outage(database: CatalogDatabase) -> None:
    nobody = PostgresCatalog(replace(database.settings, host="127.0.0.1", port=1))

    with pytest.raises(CatalogUnavailable, match="use the catalog at postgresql://postgres@127"):
        look_into(nobody)


def test_a_wrong_password_is_no_outage_and_is_never_shown(
    primary: RunningCluster, tmp_path: Path
) -> None:
    database = CatalogDatabase(primary, "guarded")
    primary.query("create role kb_guarded login password 'right'")
    hba = primary.data / "pg_hba.conf"
    hba.write_text(f"local all kb_guarded scram-sha-256\n{hba.read_text()}")
    primary.reload()
    secret = tmp_path / "password"
    secret.write_text("hunter2-wrong\n")
    secret.chmod(0o600)
    guarded = PostgresCatalog(replace(database.settings, user="kb_guarded", password_file=secret))

    with pytest.raises(CatalogError, match="authentication failed") as caught:
        look_into(guarded)
    secret.chmod(0o644)
    with pytest.raises(CatalogError, match="open to others") as open_to_others:
        look_into(guarded)

    assert not isinstance(caught.value, CatalogUnavailable)
    for error in (caught.value, open_to_others.value):
        assert "hunter2" not in f"{error} {error.hint} {error.__cause__!r}"


# a drill


def test_a_drill_rebuilds_it_beside_the_one_in_use(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    before = database.contents()

    (step,) = made.catalog_rebuilt("offsite")

    assert (step.subject, step.outcome) == ("catalog rebuilt from storage", Outcome.PASSED)
    assert "from offsite alone; the one in use says the same of it" in step.seen
    assert database.contents() == before
    schemas = database.query("select nspname from pg_namespace where nspname like '%rebuilt%'")
    assert schemas == []


def test_a_drill_names_backups_of_which_the_one_in_use_says_otherwise(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    stored = made.has_backup()
    made.sync_catalog()
    made.has_offsite_copy(stored)

    (step,) = made.catalog_rebuilt("offsite")

    assert f"the one in use differs in {stored.manifest.id}" in step.seen


def test_a_drill_is_not_spoilt_by_a_catalog_that_is_down(
    tmp_path: Path, database: CatalogDatabase
) -> None:
    made = MadeInstallation(tmp_path, catalog_url="postgresql://nobody@127.0.0.1:1/none")

    (step,) = made.catalog_rebuilt("offsite")

    assert step.good
    assert step.outcome is Outcome.NOT_APPLICABLE
    assert "not tried" in step.seen


# scale


def test_a_thousand_backups_are_rebuilt_in_bounded_memory(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    first = made.has_backup().manifest
    chunks = tuple(
        StoredObject(f"full/x/a/{number:05d}", 1, "0" * 64, "0" * 32) for number in range(300)
    )
    for number in range(1, 1000):
        started = STARTED + timedelta(hours=number)
        backup = replace(first.backup_id, stamp=f"{started:%Y%m%d-%H%M%S}")
        store_manifest(
            made.primary,
            replace(
                first,
                id=str(backup),
                started=started,
                finished=started + timedelta(minutes=1),
                chunks=chunks,
            ),
        )
    has_failure(made, days=100)
    stored = sum(len(body) for body in made.primary.bodies.values())
    tracemalloc.start()

    done = made.rebuild_catalog()

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.changed == 1001
    assert stored > 50 * 1024 * 1024
    assert peak < 12 * 1024 * 1024
