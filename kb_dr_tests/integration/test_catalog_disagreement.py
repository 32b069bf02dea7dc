"""Catalog and buckets that disagree are told apart, in both directions; the buckets are right."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.errors import CatalogError, RepositoryUnavailable
from kb_dr.operations.catalog import store_manifest
from kb_dr_tests.catalog_database import (
    TABLES,
    CatalogDatabase,
    fill_buckets,
)
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_installation import MadeInstallation


def statuses(database: CatalogDatabase) -> dict[object, object]:
    """Backup id to status."""
    return {row[0]: row[1] for row in database.query("select backup_id, status from backup_logs")}


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


def test_a_backup_whose_parent_failed_since_is_not_shown_as_proven(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    full = made.has_backup()
    child = store_increment(made.primary, made.codec, full)
    made.has_proof(child, Verdict.PROVEN, copy="primary")
    made.sync_catalog()
    green = statuses(database)
    made.has_proof(full, Verdict.FAILED, copy="primary", minutes=500)

    made.sync_catalog()

    assert green == {full.manifest.id: "completed", child.manifest.id: "verified"}
    assert statuses(database) == {full.manifest.id: "damaged", child.manifest.id: "damaged"}
    assert made.check_catalog().agrees
    assert made.trace(child.manifest.backup_id).rows.log.status == "damaged"
    made.note_in_catalog(child.manifest.backup_id, "primary")
    assert statuses(database)[child.manifest.id] == "damaged"
    made.rebuild_catalog()
    assert made.check_catalog().agrees


def test_a_backup_whose_parent_is_gone_is_not_shown_as_proven(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    full = made.has_backup()
    started = full.manifest.started + timedelta(hours=1)
    child = store_manifest(
        made.primary,
        replace(
            full.manifest,
            id=str(BackupId.of("kb", BackupKind.INCR, started)),
            kind=BackupKind.INCR,
            started=started,
            parent=full.manifest.id,
            parent_digest=full.digest,
        ),
    )
    made.has_proof(child, Verdict.PROVEN, copy="primary")
    made.sync_catalog()
    green = statuses(database)
    made.primary.delete(layout.manifest_key(full.manifest.backup_id))

    made.sync_catalog()

    assert green == {full.manifest.id: "completed", child.manifest.id: "verified"}
    assert statuses(database) == {child.manifest.id: "damaged"}
    ((problem,),) = database.query("select problem from backup_copies")
    assert full.manifest.id in str(problem)
    assert made.check_catalog().agrees
