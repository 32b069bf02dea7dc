"""An incremental backup as a partition: what becomes of one that is not needed, or not possible."""

import dagster as dg

from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import BackupInProgress, BrokenChain
from kb_dr.installation import Installation
from kb_dr.ports import Progress


def take_incremental(
    context: dg.AssetExecutionContext,
    installation: Installation,
    wanted: BackupId,
    progress: Progress,
) -> StoredManifest | None:
    """Take it; None when its partition was given up.

    While another backup runs there is nothing to be done, and nobody to be woken. Where a full
    one was taken instead, that gets a partition, which the next sync fills.
    """
    instance, backup = context.instance, str(wanted)
    try:
        stored = installation.back_up_incremental(wanted, progress)
    except BackupInProgress as error:
        context.log.info(f"{backup} is passed over: {error}")
        instance.delete_dynamic_partition(POSTGRES_BACKUPS, backup)
        return None
    taken = stored.manifest.id
    if taken == backup:
        return stored
    for note in stored.manifest.notes:
        context.log.warning(f"{taken}: {note}")
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, [taken])
    instance.add_run_tags(context.run_id, {keys.BACKUP_ID_TAG: taken})
    instance.delete_dynamic_partition(POSTGRES_BACKUPS, backup)
    return None


def chain_of(installation: Installation, stored: StoredManifest) -> tuple[StoredManifest, ...]:
    """What restoring it takes, full first; itself alone where a link is broken."""
    try:
        return installation.chain(stored)
    except BrokenChain:
        return (stored,)
