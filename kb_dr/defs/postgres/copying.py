"""The copies of a backup and of WAL that are brought to other places, as assets."""

from collections.abc import Iterator

import dagster as dg

from kb_dr.defs.metadata import Metadata, copy_metadata
from kb_dr.defs.partitions import postgres_backups
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.assets import GROUP, RETRIES, at_work
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import WalGap
from kb_dr.operations.copy_wal import WalCopy


@dg.asset(
    key=keys.OFFSITE_COPY,
    deps=[keys.BACKUP],
    partitions_def=postgres_backups,
    group_name=GROUP,
    kinds={"s3"},
    pool="offsite_copy",
    retry_policy=RETRIES,
)
def offsite_copy(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.MaterializeResult[None]:
    """The same backup, and the WAL it needs, in the offsite repository.

    Materialized means that the same manifest stands there, after everything it names was compared
    from both ends.
    """
    return _bring(context, door, "offsite")


@dg.asset(
    key=keys.LOCAL_COPY,
    deps=[keys.BACKUP],
    partitions_def=postgres_backups,
    group_name=GROUP,
    pool="local_copy",
    retry_policy=RETRIES,
)
def local_copy(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.MaterializeResult[None]:
    """The same backup, and the WAL it needs, in the local copy: a directory on another medium.

    Materialized means what it means of the offsite copy. It is brought from the primary, or from
    offsite where the primary lacks it or has it damaged.
    """
    return _bring(context, door, "local")


@dg.asset(
    key=keys.OFFSITE_WAL,
    deps=[keys.WAL_ARCHIVE],
    group_name=GROUP,
    kinds={"s3"},
    pool="offsite_wal",
    output_required=False,
)
def offsite_wal(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> Iterator[dg.MaterializeResult[None]]:
    """WAL newer than the last copied backup, brought offsite as it is archived.

    Nothing is materialized when no offsite repository is configured, or nothing was to be copied.
    """
    yield from _follow(context, door, "offsite")


@dg.asset(
    key=keys.LOCAL_WAL,
    deps=[keys.WAL_ARCHIVE],
    group_name=GROUP,
    pool="local_wal",
    output_required=False,
)
def local_wal(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> Iterator[dg.MaterializeResult[None]]:
    """WAL newer than the last copied backup, brought to the local copy as it is archived.

    Nothing is materialized when no local copy is configured, or nothing was to be copied.
    """
    yield from _follow(context, door, "local")


def _bring(
    context: dg.AssetExecutionContext, door: InstallationDoor, copy: str
) -> dg.MaterializeResult[None]:
    with at_work(context) as progress:
        copied = door.open().copy_backup(BackupId.parse(context.partition_key), copy, progress)
    return dg.MaterializeResult(
        metadata=copy_metadata(copied), data_version=dg.DataVersion(copied.digest)
    )


def _follow(
    context: dg.AssetExecutionContext, door: InstallationDoor, copy: str
) -> Iterator[dg.MaterializeResult[None]]:
    with at_work(context) as progress:
        installation = door.open()
        if copy not in installation.copies:
            context.log.info(f"no {copy} repository is configured")
            return
        copies = installation.copy_wal(progress, copy)
        problems = [problem for each in copies for problem in each.problems]
        if problems:
            raise WalGap(
                f"copy WAL to {copy}: {len(problems)} files could not be copied: {problems[0]}",
                hint="`kb-dr wal audit` says more of the archive it comes from.",
            )
    if any(each.copied for each in copies):
        yield dg.MaterializeResult(metadata=_wal_metadata(copies))


def _wal_metadata(copies: tuple[WalCopy, ...]) -> Metadata:
    newest = max((copy.newest or "" for copy in copies), default="")
    return {
        "copied_files": dg.MetadataValue.int(sum(copy.copied for copy in copies)),
        "copied_bytes": dg.MetadataValue.int(sum(copy.copied_bytes for copy in copies)),
        "newest_segment": dg.MetadataValue.text(newest or "none"),
    }
