"""Lineage on Dagster's pages: from a proof back to what it read, from a backup to every proof."""

import logging
from collections.abc import Sequence

import dagster as dg

from kb_dr.defs.metadata import Metadata, table
from kb_dr.defs.postgres import keys
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.lineage import BackupLineage, ChainLink, ProofLineage
from kb_dr.domain.proof import Proof
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation

logger = logging.getLogger(__name__)


def traced(installation: Installation, proof: Proof) -> Metadata:
    """What a proof read, for its page; nothing when that cannot be told now: the proof stands."""
    try:
        found = installation.trace_proof(proof.id, BackupId.parse(proof.backup_id))
    except KbDrError as error:
        logger.warning("lineage of proof %s: %s", proof.id, error)
        return {}
    return proof_lineage(found)


def backup_lineage(lineage: BackupLineage) -> Metadata:
    """One backup forward: chain, children, copies, holds, what became of it, every proof."""
    rows = lineage.rows
    return {
        "status": dg.MetadataValue.text(rows.log.status),
        "chain": _chain(lineage.chain),
        "needed_by": table(("backup",), ((_link(each),) for each in lineage.children)),
        "copies": table(
            ("copy", "where", "state", "standing", "by proof", "problem"),
            (
                (x.copy, x.location, x.state, x.standing, x.proof_id or "none", x.problem or "")
                for x in rows.copies
            ),
        ),
        "proofs": table(
            ("proof", "copy", "verdict", "void", "finished", "manifest", "reached"),
            (
                (
                    x.id,
                    f"{x.copy} ({x.url})",
                    x.verdict,
                    "void" if x.void else "",
                    x.finished.isoformat(timespec="seconds"),
                    x.digest or "unreadable",
                    x.reached_lsn or "not known",
                )
                for x in rows.proofs
            ),
        ),
        "holds": table(
            ("hold", "since", "reason"),
            ((x.id, x.at.isoformat(), x.reason) for x in rows.holds if x.in_force),
        ),
        "purges": table(
            ("copy", "step", "at", "reason"),
            ((x.copy, x.step, x.at.isoformat(), x.reason) for x in rows.purges),
        ),
    }


def proof_lineage(lineage: ProofLineage) -> Metadata:
    """One proof back: the backup's page, the chain it was restored from, the WAL it replayed."""
    proof = lineage.proof
    begun, reached = lineage.replayed_from or "not known", proof.reached_lsn or "not known"
    return {
        "proven_backup": dg.MetadataValue.url(_page(proof.backup_id)),
        "chain": _chain(lineage.chain),
        "wal_replayed": dg.MetadataValue.text(
            f"{begun} to {reached} on timeline {proof.reached_timeline or 'not known'}"
        ),
        "still_speaks": dg.MetadataValue.text(lineage.still_speaks),
    }


def _chain(chain: Sequence[ChainLink]) -> dg.MetadataValue:
    return table(
        ("backup", "kind", "manifest", "read from", "problem"),
        ((_link(x.id), x.kind, x.digest or "not found", x.copy or "-", x.problem) for x in chain),
    )


def _link(backup_id: str) -> str:
    return f"[{backup_id}]({_page(backup_id)})"


def _page(backup_id: str) -> str:
    """Where the webserver shows one backup."""
    return f"/assets/{'/'.join(keys.BACKUP.path)}?partition={backup_id}"
