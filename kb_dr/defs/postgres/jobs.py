"""PostgreSQL jobs: one verb each, one process each, none without an end."""

from datetime import timedelta

import dagster as dg

from kb_dr.defs.failures import reported_failures
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.assets import backup, restore_proof
from kb_dr.defs.postgres.checks import (
    every_chunk_is_stored,
    restore_proven,
    wal_archive_has_no_gap,
)
from kb_dr.defs.postgres.copying import local_copy, local_wal, offsite_copy, offsite_wal
from kb_dr.defs.postgres.requests import source_tags
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.backup_id import BackupId, BackupKind

HOUR = 3600


def ends_after(seconds: int) -> dict[str, str]:
    """The tag that ends a run which takes longer."""
    return {"dagster/max_runtime": str(seconds)}


backup_job = dg.define_asset_job(
    "backup_job",
    selection=dg.AssetSelection.assets(backup).without_checks()
    | dg.AssetSelection.checks(every_chunk_is_stored),
    executor_def=dg.in_process_executor,
    tags={**ends_after(12 * HOUR), **source_tags(BackupKind.FULL)},
    description="Take one backup: its id is the partition, and says of which kind it is.",
)

offsite_copy_job = dg.define_asset_job(
    "offsite_copy_job",
    selection=dg.AssetSelection.assets(offsite_copy),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Bring one backup, and the WAL it needs, to the offsite repository.",
)

local_copy_job = dg.define_asset_job(
    "local_copy_job",
    selection=dg.AssetSelection.assets(local_copy),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Bring one backup, and the WAL it needs, to the local copy.",
)

verify_job = dg.define_asset_job(
    "verify_job",
    selection=dg.AssetSelection.assets(restore_proof) | dg.AssetSelection.checks(restore_proven),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Restore one backup into a scratch server, look at it, and leave a proof.",
)

wal_job = dg.define_asset_job(
    "wal_job",
    selection=dg.AssetSelection.assets(keys.WAL_ARCHIVE, offsite_wal).without_checks(),
    executor_def=dg.in_process_executor,
    tags=ends_after(HOUR),
    description="Look at the WAL archive, and bring what is new offsite.",
)

local_wal_job = dg.define_asset_job(
    "local_wal_job",
    selection=dg.AssetSelection.assets(local_wal).without_checks(),
    executor_def=dg.in_process_executor,
    tags=ends_after(HOUR),
    description="Bring what is new of WAL to the local copy.",
)

wal_audit_job = dg.define_asset_job(
    "wal_audit_job",
    selection=dg.AssetSelection.checks(wal_archive_has_no_gap),
    executor_def=dg.in_process_executor,
    tags=ends_after(HOUR),
    description="Look for gaps in the WAL archive.",
)


@dg.op
def name_a_backup(context: dg.OpExecutionContext, door: dg.ResourceParam[InstallationDoor]) -> None:
    """Add a partition for a backup that starts now; a sensor then requests its run."""
    _name(context, door, BackupKind.FULL)


@dg.op
def name_a_dump(context: dg.OpExecutionContext, door: dg.ResourceParam[InstallationDoor]) -> None:
    """The same of a logical dump."""
    _name(context, door, BackupKind.DUMP)


def _name(context: dg.OpExecutionContext, door: InstallationDoor, kind: BackupKind) -> None:
    with reported_failures():
        wanted = door.open().new_backup_id(kind)
    known = set(context.instance.get_dynamic_partitions(POSTGRES_BACKUPS))
    while str(wanted) in known:
        # Named already, and not yet taken: someone pressed twice within a second.
        wanted = BackupId.of(wanted.service, wanted.kind, wanted.started + timedelta(seconds=1))
    backup_id = str(wanted)
    context.instance.add_dynamic_partitions(POSTGRES_BACKUPS, [backup_id])
    context.instance.add_run_tags(context.run_id, {keys.BACKUP_ID_TAG: backup_id})
    context.log.info(f"{backup_id} will be taken as soon as the queue allows")


@dg.job(
    executor_def=dg.in_process_executor,
    tags=ends_after(600),
    description="Take a full backup now: adds its partition, and its run follows in seconds.",
)
def back_up_now() -> None:
    """Take a full backup now."""
    name_a_backup()


@dg.job(
    executor_def=dg.in_process_executor,
    tags=ends_after(600),
    description="Take a logical dump now: adds its partition, and its run follows in seconds.",
)
def dump_now() -> None:
    """Take a logical dump now."""
    name_a_dump()
