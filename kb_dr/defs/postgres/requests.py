"""Requests for backups: how a run is named, and what it shares the source with."""

from contextlib import suppress

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.postgres import keys
from kb_dr.domain.backup_id import BackupId, BackupKind

SOURCE_TAG = "kb_dr/source"
"""What a backup asks of the source: of two runs with the same the second one waits."""

FILES, ROWS = "files", "rows"
"""A base backup reads files, a dump reads rows: a long dump holds up no base backup."""


def source_tags(kind: BackupKind) -> dict[str, str]:
    """The tag by which `tag_concurrency_limits` in dagster.yaml queues backups of this kind."""
    return {SOURCE_TAG: ROWS if kind is BackupKind.DUMP else FILES}


def backup_request(backup: BackupId, run_key: str) -> dg.RunRequest:
    """A run of `backup_job` that takes this backup; of one run key there is one run."""
    name = str(backup)
    return dg.RunRequest(
        run_key=run_key,
        partition_key=name,
        tags={keys.BACKUP_ID_TAG: name, **source_tags(backup.kind)},
    )


def is_asked_for(instance: dg.DagsterInstance, job: str, *, dump: bool) -> bool:
    """Whether a run of this job is queued or running that takes a dump, or one that takes none."""
    return any(takes_dump(run) is dump for run in ledger.runs_under_way(instance, job))


def takes_dump(run: dg.DagsterRun) -> bool:
    """Whether a run is about a logical dump, by its partition."""
    with suppress(ValueError):
        return BackupId.parse(run.tags.get(ledger.PARTITION_TAG, "")).kind is BackupKind.DUMP
    return False
