"""Show on the page of a backup where it leads: its copies, its children, every proof."""

import hashlib
import logging

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.lineage import backup_lineage
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.judgement import Holdings, Judgement
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.catalog_rows import CopyState
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation

logger = logging.getLogger(__name__)

_STATE_LENGTH = 32
"""Characters; a tag of Dagster has 63 at most."""


def report_lineage(
    instance: dg.DagsterInstance,
    installation: Installation,
    holdings: Holdings,
    backup: str,
    judgement: Judgement,
) -> bool:
    """Record it where it is not what the page shows; whether it was recorded.

    An observation, beside the materialisation: a proof is made after the backup. Where a copy
    could not tell, the page is left as it is, and the next look tries again.
    """
    state = _state(holdings, backup, judgement)
    if ledger.is_observed(instance, keys.BACKUP, backup, state):
        return False
    if ledger.newest(instance, keys.BACKUP, backup) is None:
        return False  # nothing for it to stand beside
    try:
        found = installation.trace(BackupId.parse(backup))
    except KbDrError as error:
        logger.warning("lineage of %s: %s", backup, error)
        return False
    if any(each.state == CopyState.UNKNOWN for each in found.rows.copies):
        return False
    ledger.record_observation(
        instance, keys.BACKUP, backup, state=state, metadata=backup_lineage(found)
    )
    return True


def _state(holdings: Holdings, backup: str, judgement: Judgement) -> str:
    """Changes with whatever its lineage tells; made of what has been read already."""
    held = holdings.entries.get(backup, {})
    told = (
        holdings.untold,
        sorted(
            (copy, entry.digest if isinstance(entry, StoredManifest) else entry.why)
            for copy, entry in held.items()
        ),
        sorted((copy, str(each)) for copy, (each, _) in judgement.standings.items()),
        sorted(judgement.proof_ids),
        sorted(holdings.children.get(backup, ())),
        sorted(holdings.holds.get(backup, ())),
        sorted((copy, chains.broken.get(backup, "")) for copy, chains in holdings.chains.items()),
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()[:_STATE_LENGTH]
