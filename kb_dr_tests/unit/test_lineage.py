"""Lineage: from a backup forward to every proof, and from a proof back to what it read."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.defs.lineage import backup_lineage, traced
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import ConfigurationError, NoUsableBackup, RepositoryUnavailable
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.controls import store_control_run
from kb_dr_tests.catalog_database import let_go
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import STARTED


@pytest.fixture
def made(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


def increment(made: MadeInstallation, of: StoredManifest, *, hours: int) -> StoredManifest:
    """An incremental backup made against another."""
    started = STARTED + timedelta(hours=hours)
    backup = BackupId.of("kb", BackupKind.INCR, started)
    return store_manifest(
        made.primary,
        replace(
            of.manifest,
            id=str(backup),
            kind=BackupKind.INCR,
            started=started,
            finished=started + timedelta(minutes=1),
            parent=of.manifest.id,
            parent_digest=of.digest,
        ),
    )


def test_a_backup_leads_to_its_copies_its_children_and_every_proof(made: MadeInstallation) -> None:
    full = made.has_backup()
    made.has_offsite_copy(full)
    one = increment(made, full, hours=1)
    two = increment(made, one, hours=2)
    red = made.has_proof(full, Verdict.FAILED, copy="primary", minutes=5)
    green = made.has_proof(full, Verdict.PROVEN, copy="offsite", minutes=30)

    lineage = made.trace(full.manifest.backup_id)

    assert [each.id for each in lineage.rows.proofs] == [red.id, green.id]
    assert [(each.copy, each.standing) for each in lineage.rows.copies] == [
        ("primary", "failed"),
        ("offsite", "proven"),
    ]
    assert lineage.children == (one.manifest.id,)
    assert [each.id for each in lineage.chain] == [full.manifest.id]
    assert made.trace(one.manifest.backup_id).children == (two.manifest.id,)


def test_a_proof_leads_to_base_increments_and_the_wal_it_replayed(made: MadeInstallation) -> None:
    full = made.has_backup()
    one = increment(made, full, hours=1)
    two = increment(made, one, hours=2)
    proof = made.has_proof(two, Verdict.PROVEN, copy="primary")

    lineage = made.trace_proof(proof.id)

    assert [each.id for each in lineage.chain] == [
        full.manifest.id, one.manifest.id, two.manifest.id,
    ]  # fmt: skip
    assert all(each.problem == "" for each in lineage.chain)
    assert (lineage.proof.copy, lineage.proof.digest) == ("primary", two.digest)
    assert lineage.replayed_from == two.manifest.wal.start
    assert lineage.proof.reached_lsn == proof.reach.reached_lsn if proof.reach else None
    assert lineage.still_speaks == "yes"


def test_a_parent_that_is_gone_breaks_the_chain_by_name(made: MadeInstallation) -> None:
    full = made.has_backup()
    one = increment(made, full, hours=1)
    two = increment(made, one, hours=2)
    made.primary.delete(layout.manifest_key(one.manifest.backup_id))

    lineage = made.trace(two.manifest.backup_id)

    assert lineage.broken == f"{one.manifest.id}: it stands in no copy that answered"


def test_a_proof_speaks_no_more_once_the_chain_it_restored_is_broken_or_bad(
    made: MadeInstallation,
) -> None:
    full = made.has_backup()
    child = increment(made, full, hours=1)
    proof = made.has_proof(child, Verdict.PROVEN, copy="primary")
    red = made.has_proof(full, Verdict.FAILED, copy="primary", minutes=500)

    said = made.trace_proof(proof.id).still_speaks
    assert said.startswith("no: ")
    assert red.id in said
    made.primary.delete(layout.manifest_key(full.manifest.backup_id))
    said = made.trace_proof(proof.id).still_speaks
    assert f"its parent {full.manifest.id} is not in primary" in said


def test_nobody_says_a_proof_still_speaks_while_another_cannot_be_read(
    made: MadeInstallation,
) -> None:
    stored = made.has_backup()
    proof = made.has_proof(stored, Verdict.PROVEN, copy="primary")
    other = made.has_proof(stored, Verdict.FAILED, copy="primary", minutes=50)
    made.primary.bodies[layout.proof_key(stored.manifest.backup_id, "primary", other.id)] = b"{"

    said = made.trace_proof(proof.id).still_speaks

    assert said == "not known: another proof of it cannot be read"


def test_a_manifest_that_names_its_own_child_is_no_endless_chain(made: MadeInstallation) -> None:
    full = made.has_backup()
    first = increment(made, full, hours=1)
    second = increment(made, first, hours=2)
    looped = replace(first.manifest, parent=second.manifest.id)
    made.primary.delete(layout.manifest_key(first.manifest.backup_id))
    store_manifest(made.primary, looped)

    assert len(made.trace(second.manifest.backup_id).chain) == 2


def test_an_expired_backup_is_still_told_of(made: MadeInstallation) -> None:
    stored = made.has_backup()
    proof = made.has_proof(stored, Verdict.PROVEN, copy="primary")
    let_go(made, stored, PurgeStep.EXPIRED)

    lineage = made.trace(stored.manifest.backup_id)
    back = made.trace_proof(proof.id)

    assert lineage.stored is None
    assert lineage.rows.log.status == "expired"
    assert lineage.rows.manifests[0].digest == stored.digest
    assert back.manifest is not None
    assert back.still_speaks == "no: the backup is expired there"


@pytest.mark.parametrize(
    ("verdict", "newer", "said"),
    [
        (Verdict.PROVEN, None, "yes"),
        (Verdict.FAILED, None, "yes"),
        (Verdict.NOT_PROVEN, None, "no: it could not be run to its end"),
        (Verdict.PROVEN, Verdict.FAILED, "no: 20261120-044100-primary is newer"),
        (Verdict.FAILED, Verdict.PROVEN, "no: 20261120-044100-primary is newer"),
        (Verdict.PROVEN, Verdict.NOT_PROVEN, "yes"),
    ],
)
def test_whether_a_proof_still_speaks(
    made: MadeInstallation, verdict: Verdict, newer: Verdict | None, said: str
) -> None:
    stored = made.has_backup()
    proof = made.has_proof(stored, verdict, copy="primary")
    if newer is not None:
        made.has_proof(stored, newer, copy="primary", minutes=160)

    assert made.trace_proof(proof.id).still_speaks == said


def test_a_void_proof_speaks_of_nothing(made: MadeInstallation) -> None:
    stored = made.has_backup()
    proof = made.has_proof(stored, Verdict.PROVEN, copy="primary")
    blind = made_run(proof.finished, {Damage.ROWS_DROPPED: ControlOutcome.BLIND})
    store_control_run(list(made.memory.values()), blind)

    assert made.trace_proof(proof.id).still_speaks.startswith("no: it is void")


def test_a_proof_of_a_manifest_that_was_replaced_says_nothing_of_the_new_one(
    made: MadeInstallation,
) -> None:
    stored = made.has_backup()
    proof = made.has_proof(stored, Verdict.PROVEN, copy="primary", digest="f" * 64)

    lineage = made.trace_proof(proof.id)

    assert lineage.still_speaks == "no: another manifest stands there now"
    assert lineage.manifest is None
    assert lineage.replayed_from is None


def test_names_nobody_knows_are_refused(made: MadeInstallation) -> None:
    made.has_backup()

    with pytest.raises(NoUsableBackup, match="no copy holds anything of that name"):
        made.trace(BackupId.parse("kb-full-20190101-000000"))
    with pytest.raises(ConfigurationError, match="no copy holds a proof of that id"):
        made.trace_proof("20190101-000000-dead")


def test_with_the_primary_lost_lineage_is_told_by_the_other_copy(made: MadeInstallation) -> None:
    stored = made.has_backup()
    made.has_offsite_copy(stored)
    proof = made.has_proof(stored, Verdict.PROVEN, copy="offsite")
    made.primary.failures[""] = RepositoryUnavailable("list primary: no answer")
    made.primary.failures[layout.MARKER] = RepositoryUnavailable("get primary: no answer")

    lineage = made.trace(stored.manifest.backup_id)

    assert lineage.stored is not None
    assert lineage.stored.copy == "offsite"
    assert [(each.copy, each.state) for each in lineage.rows.copies] == [
        ("primary", "unknown"),
        ("offsite", "stored"),
    ]
    assert made.trace_proof(proof.id).proof.verdict == "PROVEN"


def page(asset: str, backup: str) -> str:
    """Where the webserver shows one partition."""
    return f"/assets/postgres/{asset}?view=partitions&partition={backup}"


def test_a_proofs_page_leads_to_copy_backup_base_and_wal(made: MadeInstallation) -> None:
    full = made.has_backup()
    one = increment(made, full, hours=1)
    made.has_offsite_copy(full)
    made.has_offsite_copy(one)
    proof = made.has_proof(one, Verdict.PROVEN, copy="offsite")

    shown = traced(made, proof)

    table = str(shown["lineage"].value)
    assert f"[offsite]({page('offsite_copy', one.manifest.id)}) |  | memory://offsite |" in table
    for stored in (one, full):
        backup = stored.manifest.id
        assert f"[{backup}]({page('backup', backup)}) | {stored.digest[:12]} |" in table
    assert "found in offsite" in table, "the copy that was read tells of its chain"
    assert f"[{one.manifest.wal.start} to 0/3000000](/assets/postgres/offsite_wal)" in table
    said = str(shown["still_speaks"].value)
    assert said.startswith("at 2026-"), "it is true of that time only, and must say so"
    assert said.endswith(f"Z: yes; [see how it stands now]({page('backup', one.manifest.id)})")


def test_a_backups_page_names_every_proof(made: MadeInstallation) -> None:
    stored = made.has_backup()
    proofs = [
        made.has_proof(stored, verdict, copy=copy, minutes=minutes).id
        for verdict, copy, minutes in (
            (Verdict.FAILED, "primary", 5),
            (Verdict.PROVEN, "offsite", 9),
            (Verdict.NOT_PROVEN, "offsite", 30),
        )
    ]

    shown = backup_lineage(made.trace(stored.manifest.backup_id))

    assert all(each in str(shown["proofs"].value) for each in proofs)
    assert shown["status"].value == "damaged"
