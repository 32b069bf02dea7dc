"""PostgreSQL assets: what must exist for the cluster to be recoverable."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.defs.copies import CopyRead, copy_named
from kb_dr.defs.failures import reported_failures
from kb_dr.defs.heartbeat import signs_of_life
from kb_dr.defs.lineage import traced
from kb_dr.defs.metadata import backup_metadata, proof_metadata, table
from kb_dr.defs.partitions import postgres_backups
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.incremental import chain_of, take_incremental
from kb_dr.defs.postgres.judgement import copy_that_counts
from kb_dr.defs.postgres.logical import take_logical
from kb_dr.defs.postgres.report import report_standing
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.errors import KbDrError
from kb_dr.logs import bound

GROUP = "postgres"

RETRIES = dg.RetryPolicy(
    max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""Takes effect only for errors that say a retry can help."""


class ProofConfig(dg.Config):
    """Which copy a proof reads."""

    copy_read: CopyRead = Field(
        default=CopyRead.auto,
        description="The copy to read: `auto` is the offsite one wherever there is one, which "
        "the light of the backup goes by.",
    )


@contextmanager
def at_work(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[LogProgress]:
    """A step that shows progress and signs of life, and fails with what our errors know."""
    say = context.log.info
    progress = LogProgress(say)
    with bound(run_id=context.run.run_id), reported_failures(), signs_of_life(say):
        try:
            yield progress
        finally:
            progress.end()


@dg.asset(
    key=keys.BACKUP,
    partitions_def=postgres_backups,
    group_name=GROUP,
    kinds={"postgres", "s3"},
    retry_policy=RETRIES,
    output_required=False,
)
def backup(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> Iterator[dg.MaterializeResult[None]]:
    """One restorable state; the id says whether full, incremental, or a logical dump.

    Materialized means that its manifest is in a repository; `kb-dr list` shows the same set.
    Whether it restores is another question: see its check `restore_proven`. An incremental one
    that came to nothing, or to a full one, gives its partition up, and so does a dump that meets
    another.
    """
    with at_work(context) as progress:
        installation, wanted = door.open(), BackupId.parse(context.partition_key)
        stored: StoredManifest | None
        if wanted.kind is BackupKind.INCR:
            stored = take_incremental(context, installation, wanted, progress)
        elif wanted.kind is BackupKind.DUMP:
            stored = take_logical(context, installation, wanted, progress)
        else:
            stored = installation.back_up(wanted, progress)
    if stored is not None:
        yield dg.MaterializeResult(
            metadata=backup_metadata(stored, chain_of(installation, stored)),
            data_version=dg.DataVersion(stored.digest),
        )


@dg.asset(
    key=keys.RESTORE_PROOF,
    deps=[keys.OFFSITE_COPY],
    partitions_def=postgres_backups,
    group_name=GROUP,
    kinds={"postgres"},
    pool="scratch",
)
def restore_proof(
    context: dg.AssetExecutionContext,
    config: ProofConfig,
    door: dg.ResourceParam[InstallationDoor],
) -> dg.MaterializeResult[None]:
    """A copy of the backup, restored into a scratch server, looked at and timed.

    Materialized means that a proof with the verdict in its metadata is in the repository. Any
    other verdict than PROVEN fails the run.
    """
    with at_work(context) as progress:
        installation = door.open()
        copy = copy_named(installation, config.copy_read) or copy_that_counts(installation)
        proof = installation.verify(BackupId.parse(context.partition_key), copy, progress)
    if proof.verdict is not Verdict.PROVEN:
        # The check of this run will be skipped; the page must not wait for the next sync.
        try:
            report_standing(context.instance, installation, context.partition_key, context.run_id)
        except KbDrError as error:
            context.log.warning(f"restore_proven is left to the next sync: {error}")
        raise dg.Failure(
            description=f"{proof.verdict}: {proof.reason}",
            metadata=proof_metadata(proof, traced(installation, proof)),
            allow_retries=False,
        )
    return dg.MaterializeResult(
        metadata=proof_metadata(proof, traced(installation, proof)),
        data_version=dg.DataVersion(proof.id),
    )


@dg.observable_source_asset(key=keys.WAL_ARCHIVE, group_name=GROUP)
def wal_archive(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.ObserveResult:
    """The WAL that PostgreSQL archives by itself: looked at every minute, made by no run."""
    with at_work(context):
        audits = door.open().audit_wal("primary")
    runs = [
        (a.system_identifier, f"{timeline:08X}", run.first.name, run.last.name, run.segments)
        for a in audits
        for timeline, each in sorted(a.archive.timelines.items())
        for run in each.runs
    ]
    newest = max((run[3] for run in runs), default="none")
    return dg.ObserveResult(
        data_version=dg.DataVersion(newest),
        metadata={
            "newest_segment": dg.MetadataValue.text(newest),
            "segments": dg.MetadataValue.int(sum(run[4] for run in runs)),
            "problems": dg.MetadataValue.int(
                sum(len(a.archive.problems) + a.archive.more_problems for a in audits)
            ),
            "runs": table(("cluster", "timeline", "first", "last", "segments"), runs),
        },
    )
