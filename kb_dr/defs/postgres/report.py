"""Bring what Dagster shows of one backup in line with what the repositories say."""

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.lineage import traced
from kb_dr.defs.metadata import Metadata, backup_metadata, proof_metadata, standing_metadata
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.incremental import chain_of
from kb_dr.defs.postgres.judgement import Holdings, Judgement, judge, load_holdings
from kb_dr.defs.postgres.report_lineage import report_lineage
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation


def judgement_metadata(judgement: Judgement) -> Metadata:
    """Why the check is what it is."""
    found: Metadata = {
        "manifest_digest": dg.MetadataValue.text(judgement.digest or "not known"),
        "reason": dg.MetadataValue.text(judgement.reason),
        "copies": standing_metadata(judgement.standings),
    }
    if judgement.decisive is not None:
        found["proof_id"] = dg.MetadataValue.text(judgement.decisive.id)
        found["rto_seconds"] = dg.MetadataValue.float(judgement.decisive.rto_seconds)
    return found


def report_standing(
    instance: dg.DagsterInstance, installation: Installation, backup: str, run_id: str
) -> bool:
    """Let a run show where its backup stands; whether anything had to be changed.

    While a copy cannot be read only red is shown.
    """
    holdings = load_holdings(installation, partly=True)
    shown = ledger.shown(instance, keys.RESTORE_PROVEN)
    return _settle(instance, installation, holdings, backup, shown, run_id)


def report_red(
    instance: dg.DagsterInstance,
    installation: Installation,
    holdings: Holdings,
    backup: str,
    shown: dict[str, bool],
) -> bool:
    """While a copy cannot be read: show what the others know to be bad, and nothing else."""
    return _settle(instance, installation, holdings, backup, shown, None)


def report_backup(
    instance: dg.DagsterInstance,
    installation: Installation,
    holdings: Holdings,
    backup: str,
    shown: dict[str, bool],
) -> tuple[str, ...]:
    """Show one backup, its copy, its proof and its check as they are; name what was changed.

    ``shown`` is ledger.shown() of the check. Nothing is greened that the repositories do not
    prove: a new materialisation first takes the old check off the page.

    Raises the first error of reading what is to be shown, after all the rest was shown that could
    be; of the check then only red.
    """
    changes: list[str] = []
    failures: list[KbDrError] = []
    judgement = judge(installation, holdings, backup)
    stored = holdings.any_readable(backup)
    if stored is not None and _moved(instance, keys.BACKUP, backup, stored.digest):
        try:
            _record_backup(instance, installation, stored)
        except KbDrError as error:
            failures.append(error)
        else:
            shown = {name: state for name, state in shown.items() if name != backup}
            changes.append("backup")
    for copy, key in keys.COPIES.items():
        held = holdings.readable(backup, copy)
        if held is not None and _moved(instance, key, backup, held.digest):
            try:
                metadata = backup_metadata(installation.whole(held))
            except KbDrError as error:
                failures.append(error)
                continue
            ledger.record_materialisation(
                instance, key, backup, data_version=held.digest, metadata=metadata
            )
            changes.append(key.path[-1])
    if judgement.passed is False or not failures:
        try:
            if _show_proof(instance, installation, backup, judgement, shown):
                changes.append("restore_proof")
        except KbDrError as error:
            failures.append(error)
    if _settle(instance, installation, holdings, backup, shown, None, only_red=bool(failures)):
        changes.append("restore_proven")
    if failures:
        raise failures[0]
    if report_lineage(instance, installation, holdings, backup, judgement):
        changes.append("lineage")
    return tuple(changes)


def _record_backup(
    instance: dg.DagsterInstance, installation: Installation, lean: StoredManifest
) -> None:
    stored = installation.whole(lean)
    ledger.record_materialisation(
        instance,
        keys.BACKUP,
        stored.manifest.id,
        data_version=stored.digest,
        metadata=backup_metadata(stored, chain_of(installation, stored)),
    )


def _moved(instance: dg.DagsterInstance, asset: dg.AssetKey, backup: str, digest: str) -> bool:
    at = ledger.newest(instance, asset, backup)
    return at is None or at.data_version != digest


def _show_proof(
    instance: dg.DagsterInstance,
    installation: Installation,
    backup: str,
    judgement: Judgement,
    shown: dict[str, bool],
) -> bool:
    """A PROVEN proof is shown; a FAILED one only where an older, better one is on the page.

    (A run of ours that ended FAILED is red by itself; a materialisation would hide that.)
    """
    at = ledger.newest(instance, keys.RESTORE_PROOF, backup)
    on_page = at.texts.get("proof_id", "") if at else ""
    proof = judgement.decisive
    if proof is None:
        if not on_page or on_page in judgement.proof_ids:
            return False
        gone: Metadata = {
            "verdict": dg.MetadataValue.text("none"),
            "reason": dg.MetadataValue.text(f"proof {on_page} no longer stands"),
        }
        _record_proof(instance, backup, "none", gone)
        return True
    if on_page >= proof.id:
        return False
    if not judgement.passed and (not on_page or shown.get(backup) is False):
        return False
    metadata = proof_metadata(proof, traced(installation, proof))
    _record_proof(instance, backup, proof.id, metadata)
    return True


def _record_proof(
    instance: dg.DagsterInstance, backup: str, version: str, metadata: Metadata
) -> None:
    ledger.record_materialisation(
        instance, keys.RESTORE_PROOF, backup, data_version=version, metadata=metadata
    )


def _settle(
    instance: dg.DagsterInstance,
    installation: Installation,
    holdings: Holdings,
    backup: str,
    shown: dict[str, bool],
    run_id: str | None,
    *,
    only_red: bool = False,
) -> bool:
    """Show the check as it is, and look again: a proof may have come in between.

    Whoever stores a proof shows it afterwards. So whoever shows last has seen every proof, and
    an old green never stands on top of a new red. ``only_red``: something of the backup could not
    be read.
    """
    changed = False
    while True:
        judgement = judge(installation, holdings, backup)
        if (only_red or holdings.silent) and judgement.passed is not False:
            return changed
        if run_id is None and backup in ledger.partitions_under_way(instance):
            return changed  # that run will say
        if not _show_check(instance, backup, judgement, shown, run_id):
            return changed
        changed = True
        if judgement.passed is None:
            return changed
        shown = {**shown, backup: judgement.passed}


def _show_check(
    instance: dg.DagsterInstance,
    backup: str,
    judgement: Judgement,
    shown: dict[str, bool],
    run_id: str | None,
) -> bool:
    if judgement.passed is None:
        return _take_off(instance, backup, shown)
    at = ledger.newest(instance, keys.BACKUP, backup)
    if judgement.passed and (at is None or at.data_version != judgement.digest):
        # The page shows another manifest than the one that was proven; sync records it first.
        return False
    if shown.get(backup) is judgement.passed:
        return False
    ledger.record_check(
        instance,
        keys.RESTORE_PROVEN,
        backup,
        run_id=run_id,
        passed=judgement.passed,
        description=judgement.reason,
        metadata=judgement_metadata(judgement),
    )
    return True


def _take_off(instance: dg.DagsterInstance, backup: str, shown: dict[str, bool]) -> bool:
    """Make the check read "not evaluated" again: its proof is gone, or was of something else."""
    at = ledger.newest(instance, keys.BACKUP, backup)
    if backup not in shown or at is None or at.data_version is None:
        return False
    ledger.record_materialisation(
        instance,
        keys.BACKUP,
        backup,
        data_version=at.data_version,
        metadata={"note": dg.MetadataValue.text("the proof shown before no longer stands")},
    )
    return True
