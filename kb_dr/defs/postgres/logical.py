"""A run that takes a logical dump, and what becomes of one beside another."""

import dagster as dg

from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import BackupInProgress
from kb_dr.installation import Installation
from kb_dr.ports import Progress


def take_logical(
    context: dg.AssetExecutionContext,
    installation: Installation,
    wanted: BackupId,
    progress: Progress,
) -> StoredManifest | None:
    """Take it; None when its partition was given up, because another dump runs.

    Not at a second try: what runs then may be what is left of the first one, whose end nobody
    would hear of.
    """
    try:
        return installation.back_up_dump(wanted, progress)
    except BackupInProgress as error:
        if context.retry_number:
            raise
        context.log.info(f"{wanted} is passed over: {error}")
        context.instance.delete_dynamic_partition(POSTGRES_BACKUPS, str(wanted))
        return None
