"""Lineage on Dagster's pages: from a proof back to what it read, from a backup to every proof.

Links are paths of the webserver, so that they hold wherever it is reached.
"""

import logging
from collections.abc import Iterator
from datetime import datetime

import dagster as dg

from kb_dr.defs.metadata import Metadata, table
from kb_dr.defs.postgres import keys
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.lineage import BackupLineage, ProofLineage
from kb_dr.domain.proof import Proof, is_dump
from kb_dr.domain.wording import moment
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation

logger = logging.getLogger(__name__)

_DIGEST_SHOWN = 12
"""Characters of a digest in a table; the page of the backup has all of it."""

_WAL = {"offsite": keys.OFFSITE_WAL, "local": keys.LOCAL_WAL}


def traced(installation: Installation, proof: Proof) -> Metadata:
    """What a proof read, for its page; nothing when that cannot be told now: the proof stands."""
    try:
        found = installation.trace_proof(proof.id, BackupId.parse(proof.backup_id))
    except KbDrError as error:
        logger.warning("lineage of proof %s: %s", proof.id, error)
        return {}
    return proof_lineage(found, installation.clock.now())


def proof_lineage(lineage: ProofLineage, at: datetime) -> Metadata:
    """One proof back: the copy, the backup, what that was made against, the WAL replayed.

    Whether it still speaks was true ``at`` that time alone, and is said so.
    """
    now = _linked("see how it stands now", keys.BACKUP, lineage.proof.backup_id)
    return {
        "lineage": table(("from this proof back to", "", "manifest", "where"), _back(lineage)),
        "still_speaks": dg.MetadataValue.md(f"at {moment(at)}: {lineage.still_speaks}; {now}"),
    }


def backup_lineage(lineage: BackupLineage) -> Metadata:
    """One backup forward: what it needs and what needs it, copies, every proof, holds, purges."""
    rows = lineage.rows
    backup = rows.backup_id
    found: Metadata = {
        "status": dg.MetadataValue.text(rows.log.status),
        "copies_and_standing": table(
            ("copy", "where", "state", "standing", "by proof", "problem"),
            (
                (
                    _copy(x.copy, backup),
                    x.location,
                    x.state,
                    x.standing,
                    x.proof_id or "none",
                    x.problem or "",
                )
                for x in rows.copies
            ),
        ),
        "proofs": table(
            ("proof", "read from", "verdict", "finished", "manifest", "WAL replayed to"),
            (
                (
                    x.id,
                    x.copy,
                    f"{x.verdict} (void)" if x.void else x.verdict,
                    moment(x.finished),
                    _short(x.digest, "unreadable"),
                    x.reached_lsn or "not known",
                )
                for x in rows.proofs
            ),
        ),
        "made_against": table(
            ("backup", "kind", "manifest", "found in", "problem"),
            (
                (_backup(x.id), x.kind, _short(x.digest, "not found"), x.copy or "-", x.problem)
                for x in lineage.chain[:-1]
            ),
        ),
        "needed_by": table(("backup",), ((_backup(each),) for each in lineage.children)),
        "holds": table(
            ("held since", "reason"),
            ((moment(x.at), x.reason) for x in rows.holds if x.in_force),
        ),
        "purges": table(
            ("copy", "step", "at", "reason"),
            ((x.copy, x.step, moment(x.at), x.reason) for x in rows.purges),
        ),
    }
    # Always: what a newer look does not name, the page goes on showing from an older one.
    leads = _linked("what it read and reached", keys.RESTORE_PROOF, backup)
    found["newest_proof"] = dg.MetadataValue.md(leads if rows.proofs else "none")
    return found


def _back(lineage: ProofLineage) -> Iterator[tuple[object, ...]]:
    """Each step back, the nearest first."""
    proof, manifest = lineage.proof, lineage.manifest
    yield "the copy it read", _copy(proof.copy, proof.backup_id), "", proof.url
    yield "the backup", _backup(proof.backup_id), _short(proof.digest, "unreadable"), ""
    for link in reversed(lineage.chain[:-1]):
        what = "its base" if link is lineage.chain[0] else "made against"
        found = f"found in {link.copy}" if link.copy else ""
        said = "; ".join(each for each in (found, link.problem) if each)
        yield what, _backup(link.id), _short(link.digest, "not found"), said
    if is_dump(proof.backup_id):
        return  # loaded: no WAL was read
    begun, reached = lineage.replayed_from or "not known", proof.reached_lsn or "not known"
    archive = _WAL.get(proof.copy, keys.WAL_ARCHIVE)
    cluster = manifest.system_identifier if manifest else "not known"
    yield (
        "the WAL it replayed",
        f"[{begun} to {reached}]({_page(archive)})",
        "",
        f"timeline {proof.reached_timeline or 'not known'} of system {cluster}",
    )


def _short(digest: str | None, otherwise: str) -> str:
    return digest[:_DIGEST_SHOWN] if digest else otherwise


def _copy(copy: str, backup: str) -> str:
    """A copy by name, leading to the page of the backup there."""
    return _linked(copy, keys.COPIES.get(copy, keys.BACKUP), backup)


def _backup(backup: str) -> str:
    return _linked(backup, keys.BACKUP, backup)


def _linked(text: str, asset: dg.AssetKey, backup: str) -> str:
    return f"[{text}]({_page(asset)}?view=partitions&partition={backup})"


def _page(asset: dg.AssetKey) -> str:
    return f"/assets/{'/'.join(asset.path)}"
