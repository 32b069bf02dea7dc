"""Each further copy gets what it lacks from the nearest copy that has it right, and no more."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.defs.copies import CopyRead, copy_named
from kb_dr.defs.postgres.judgement import copy_that_counts
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.copies import copy_that_counts as counting
from kb_dr.domain.copies import further_copies
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Outcome, Standing, Verdict
from kb_dr.domain.retention import WalRange
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import (
    ConfigurationError,
    ObjectConflict,
    RepositoryUnavailable,
    UnreadableRecord,
    WalGap,
)
from kb_dr.operations.catalog import load_catalog, store_manifest
from kb_dr.operations.purged_wal import note_purged_wal
from kb_dr_tests.made_copies import QUIET, bodies, bring, let_go, pass_days
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import (
    SEGMENT_BYTES,
    SYSTEM,
    segment,
    store_backup,
    store_objects,
    store_segments,
)


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    """Primary, offsite and local."""
    return MadeInstallation(tmp_path, local=True)


# which copy is which


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        (["primary"], "primary"),
        (["primary", "offsite"], "offsite"),
        (["primary", "local"], "local"),
        (["primary", "offsite", "local"], "offsite"),
    ],
)
def test_the_copy_that_counts_is_the_offsite_one_where_there_is_one(
    copies: list[str], expected: str
) -> None:
    assert counting(copies) == expected
    assert further_copies(copies) == tuple(copies[1:])


def test_dagster_and_the_command_line_agree_on_the_copy_that_counts(
    installation: MadeInstallation, tmp_path: Path
) -> None:
    assert copy_that_counts(installation) == installation.copy_that_counts == "offsite"
    assert copy_named(installation, CopyRead.local) == "local"
    with pytest.raises(ConfigurationError) as caught:
        copy_named(MadeInstallation(tmp_path / "two"), CopyRead.local)
    assert "KB_DR_LOCAL_COPY_PATH" in caught.value.hint


# what is brought


def test_a_backup_is_brought_to_each_further_copy(installation: MadeInstallation) -> None:
    stored = installation.has_backup()

    for copy in installation.further_copies:
        assert bring(installation, copy) == [stored.manifest.id]
        assert bodies(installation, copy) == bodies(installation, "primary")
        assert bring(installation, copy) == []
        assert installation.has_copy(copy, stored)


def test_what_the_primary_lacks_is_brought_from_offsite(installation: MadeInstallation) -> None:
    stored = installation.has_backup()
    bring(installation, "offsite")
    installation.primary.delete(layout.manifest_key(stored.manifest.backup_id))

    done = installation.copy_backup(stored.manifest.backup_id, "local", QUIET)

    assert done.source == "offsite"
    assert bodies(installation, "local") == bodies(installation, "offsite")


def test_what_the_primary_has_damaged_or_lost_is_taken_from_offsite(
    installation: MadeInstallation,
) -> None:
    stored = installation.has_backup()
    bring(installation, "offsite")
    good = bodies(installation, "offsite")
    chunks = stored.manifest.chunks
    installation.primary.bodies[chunks[0].key] = b"?" + good[chunks[0].key][1:]
    installation.primary.delete(chunks[1].key)
    first, second = sorted(key for key in good if key.startswith("wal/"))
    installation.primary.bodies[first] = b"damaged"
    installation.primary.delete(second)

    done = installation.copy_backup(stored.manifest.backup_id, "local", QUIET)

    assert (done.source, done.digest) == ("primary", stored.digest)
    assert bodies(installation, "local") == good


def test_wal_that_a_farther_copy_lacks_is_no_gap(installation: MadeInstallation) -> None:
    stored = installation.has_backup()
    bring(installation, "offsite")
    installation.offsite.delete(next(k for k in installation.offsite.bodies if "wal/" in k))

    installation.copy_backup(stored.manifest.backup_id, "local", QUIET)

    assert bodies(installation, "local") == bodies(installation, "primary")


def test_wal_that_no_copy_has_is_a_gap_wherever_it_is_looked_for(
    installation: MadeInstallation,
) -> None:
    stored = installation.has_backup()
    bring(installation, "offsite")
    for memory in (installation.primary, installation.offsite):
        memory.delete(next(key for key in memory.bodies if segment(2).name in key))

    with pytest.raises(WalGap, match="primary and offsite"):
        installation.copy_backup(stored.manifest.backup_id, "local", QUIET)
    assert load_catalog(installation.local) == ()


def test_two_manifests_of_one_id_are_not_copied(installation: MadeInstallation) -> None:
    stored = installation.has_backup()
    store_backup(installation.offsite, installation.codec, chunks=2)

    with pytest.raises(ObjectConflict, match="manifests differ"):
        installation.copy_backup(stored.manifest.backup_id, "local", QUIET)
    assert bodies(installation, "local") == {}


def test_while_the_primary_is_down_the_local_copy_goes_on_from_offsite(
    installation: MadeInstallation,
) -> None:
    stored = installation.has_backup()
    bring(installation, "offsite")
    store_segments(installation.offsite, installation.codec, 4, 5)
    installation.primary.failures[""] = RepositoryUnavailable("down")
    installation.primary.failures[layout.MARKER] = RepositoryUnavailable("down")

    assert bring(installation, "local") == [stored.manifest.id]
    installation.copy_wal(QUIET, "local")

    assert bodies(installation, "local") == bodies(installation, "offsite")


def test_wal_follows_to_each_further_copy(installation: MadeInstallation) -> None:
    store_segments(installation.primary, installation.codec, 1, 4)

    for copy in installation.further_copies:
        (done,) = installation.copy_wal(QUIET, copy)
        assert (done.copy, done.copied, done.newest) == (copy, 4, segment(4).name)


# what retention let go of


@pytest.mark.parametrize("step", [PurgeStep.EXPIRED, PurgeStep.PURGED])
def test_what_a_copy_has_let_go_of_is_not_brought_back(
    installation: MadeInstallation, step: PurgeStep
) -> None:
    old, new = installation.has_backup(), installation.has_backup(days=1)
    let_go(installation, old, step)

    lacking = installation.lacking("local")

    assert [str(each) for each in lacking.wanted] == [new.manifest.id]
    assert lacking.let_go == (old.manifest.id,)
    assert len(installation.lacking("offsite").wanted) == 2, "each copy has its own policy"
    with pytest.raises(ConfigurationError, match="retention let go of it there"):
        installation.copy_backup(old.manifest.backup_id, "local", QUIET)
    assert bodies(installation, "local") == {}


def test_what_a_copy_took_back_is_brought_again_also_within_the_same_second(
    installation: MadeInstallation,
) -> None:
    stored = installation.has_backup()
    let_go(installation, stored, PurgeStep.EXPIRED)
    let_go(installation, stored, PurgeStep.UNDELETED)

    assert bring(installation, "local") == [stored.manifest.id]


def test_the_record_of_another_copy_is_enough(installation: MadeInstallation) -> None:
    stored = installation.has_backup()
    let_go(installation, stored, PurgeStep.EXPIRED)
    for key in [key for key in installation.local.bodies if key.startswith(layout.TOMBSTONES)]:
        installation.local.delete(key)

    assert bring(installation, "local") == []


def test_a_record_nobody_can_read_lets_nothing_be_brought(
    installation: MadeInstallation,
) -> None:
    stored = installation.has_backup()
    key = layout.tombstone_key(stored.manifest.backup_id, "local", "20261120-030000-what-ab")
    installation.local.put(key, b"{}")

    with pytest.raises(UnreadableRecord):
        installation.lacking("local")


def test_wal_a_copy_has_let_go_of_is_not_brought_again(installation: MadeInstallation) -> None:
    store_segments(installation.primary, installation.codec, 1, 3)
    stored = store_backup(installation.primary, installation.codec, start=4, stop=5)
    installation.copy_backup(stored.manifest.backup_id, "local", QUIET)
    old = sorted(key for key in installation.local.bodies if key.startswith("wal/"))[:2]
    going = WalRange(SYSTEM, 1, segment(1).name, segment(2).name, 2, 100)
    note_purged_wal(installation.local, installation.clock, [going], {SYSTEM: SEGMENT_BYTES})
    for key in old:
        installation.local.delete(key)
    keys = store_segments(installation.primary, installation.codec, 6, 7)

    (done,) = installation.copy_wal(QUIET, "local", everything=True)

    assert (done.copied, done.left_out) == (2, 2)
    assert set(keys) < set(installation.local.bodies)
    assert not set(old) & set(installation.local.bodies)
    (elsewhere,) = installation.copy_wal(QUIET, "offsite", everything=True)
    assert (elsewhere.copied, elsewhere.left_out) == (7, 0), "each copy has its own policy"


# what cannot be restored alone


def incremental(
    installation: MadeInstallation, parent: StoredManifest, *, hours: int
) -> StoredManifest:
    """An incremental backup in the primary repository."""
    started = parent.manifest.started + timedelta(hours=hours)
    made = store_objects(installation.primary, started=started)
    backup = BackupId.of("kb", BackupKind.INCR, started)
    manifest = replace(
        made,
        id=str(backup),
        kind=BackupKind.INCR,
        parent=parent.manifest.id,
        parent_digest=parent.digest,
    )
    return store_manifest(installation.primary, manifest)


def test_a_backup_brings_its_parents_along(installation: MadeInstallation) -> None:
    full = installation.has_backup()
    first = incremental(installation, full, hours=1)
    second = incremental(installation, first, hours=1)

    installation.copy_backup(second.manifest.backup_id, "local", QUIET)

    assert all(installation.has_copy("local", each) for each in (full, first, second))


def test_children_of_what_a_copy_has_let_go_of_are_left_out_as_well(
    installation: MadeInstallation,
) -> None:
    full = installation.has_backup()
    first = incremental(installation, full, hours=1)
    second = incremental(installation, first, hours=1)
    let_go(installation, full, PurgeStep.EXPIRED)

    lacking = installation.lacking("local")

    assert lacking.wanted == ()
    assert set(lacking.let_go) == {each.manifest.id for each in (full, first, second)}
    with pytest.raises(ConfigurationError, match=full.manifest.id):
        installation.copy_backup(second.manifest.backup_id, "local", QUIET)


# what is said of the copies


def test_the_list_names_every_copy_that_holds_a_backup(installation: MadeInstallation) -> None:
    stored = installation.has_backup()
    bring(installation, "local")
    installation.has_proof(stored, Verdict.FAILED, copy="local")

    for copy in ("primary", "local"):
        (row,) = installation.overview(copy)
        assert row.standings == {"primary": Standing.UNPROVEN, "local": Standing.FAILED}
        assert row.troubles == {}


def test_an_increment_is_not_listed_as_proven_where_its_parent_failed_since(
    installation: MadeInstallation,
) -> None:
    full = installation.has_backup()
    child = incremental(installation, full, hours=1)
    bring(installation, "local")
    installation.has_proof(child, Verdict.PROVEN, copy="local")
    assert installation.overview("primary")[-1].standings["local"] is Standing.PROVEN

    installation.has_proof(full, Verdict.FAILED, copy="local", minutes=120)

    for copy in ("primary", "local"):
        row = installation.overview(copy)[-1]
        assert row.id == child.manifest.id
        assert row.standings == {"primary": Standing.UNPROVEN, "local": Standing.FAILED}


def test_a_report_counts_no_increment_as_proven_whose_parent_failed_since(
    installation: MadeInstallation,
) -> None:
    full = installation.has_backup()
    child = incremental(installation, full, hours=1)
    installation.has_proof(child, Verdict.PROVEN, copy="primary")
    installation.has_proof(full, Verdict.FAILED, copy="primary", minutes=120)

    lines = installation.make_report(QUIET).copies[0].backups

    found = {each.id: each for each in lines}[child.manifest.id]
    assert (found.standing, found.proven_at) == (Standing.FAILED, None)
    assert f"its parent {full.manifest.id} FAILED" in found.problem


def test_the_list_says_which_copy_it_could_not_ask_or_read(
    installation: MadeInstallation,
) -> None:
    stored = installation.has_backup()
    bring(installation, "offsite")
    installation.offsite.bodies[layout.manifest_key(stored.manifest.backup_id)] = b"damaged"
    installation.local.failures[""] = RepositoryUnavailable("no answer")
    installation.local.failures[layout.MARKER] = RepositoryUnavailable("no answer")

    (row,) = installation.overview("primary")

    assert set(row.standings) == {"primary"}
    assert set(row.troubles) == {"offsite", "local"}
    assert "no answer" in row.troubles["local"]


def test_a_local_copy_nobody_proved_is_not_green(installation: MadeInstallation) -> None:
    stored = installation.has_backup()
    for copy in installation.further_copies:
        bring(installation, copy)
    installation.has_proof(stored, Verdict.PROVEN)
    pass_days(installation, 1)

    def age(copy: str = "") -> Outcome:
        subject = f"age of the newest proof{copy}"
        return next(e.outcome for e in installation.status().objectives if e.subject == subject)

    assert (age(), age(" of local")) == (Outcome.PASSED, Outcome.COULD_NOT_RUN)
    installation.has_proof(stored, Verdict.PROVEN, copy="local")
    assert age(" of local") is Outcome.PASSED
    pass_days(installation, 8)
    assert (age(), age(" of local")) == (Outcome.FAILED, Outcome.PASSED), "it waits its turn"
    pass_days(installation, 16)
    assert age(" of local") is Outcome.FAILED


def test_a_copy_that_has_lost_all_its_wal_is_a_gap(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    stored = made.has_backup()
    made.copy_backup(stored.manifest.backup_id, "offsite", QUIET)
    job = made.definitions().resolve_job_def("wal_audit_job")
    with dg.DagsterInstance.ephemeral() as instance:
        (whole,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        for key in [key for key in made.offsite.bodies if key.startswith("wal/")]:
            made.offsite.delete(key)
        (check,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()

    assert whole.passed
    assert not check.passed
    assert "offsite" in str(check.description)
