"""The catalog database is a view: made of the buckets, and made again whenever it is lost."""

import tracemalloc
from dataclasses import replace
from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.catalog_rows import row_id
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.proof import Verdict
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.controls import store_control_run
from kb_dr_tests.catalog_database import (
    TABLES,
    CatalogDatabase,
    fill_buckets,
    has_failure,
    hold,
)
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import STARTED


def statuses(database: CatalogDatabase) -> dict[object, object]:
    """Backup id to status."""
    return {row[0]: row[1] for row in database.query("select backup_id, status from backup_logs")}


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
