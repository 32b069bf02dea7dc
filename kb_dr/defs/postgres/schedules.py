"""PostgreSQL schedules, all in UTC."""

from collections.abc import Sequence

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.jobs import backup_job, verify_job, wal_audit_job, wal_job
from kb_dr.defs.postgres.judgement import copy_that_counts
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.operations.catalog import readable

ON = dg.DefaultScheduleStatus.RUNNING


def make_schedules(times: ScheduleTimes) -> Sequence[dg.ScheduleDefinition]:
    """Every schedule, at these times."""

    @dg.schedule(
        job=backup_job,
        cron_schedule=times.backup,
        execution_timezone="UTC",
        default_status=ON,
        description="A full backup; its id carries the time it was due.",
    )
    def daily_full_backup(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> dg.RunRequest:
        due = context.scheduled_execution_time
        backup = str(BackupId.of(door.open().settings.service, BackupKind.FULL, due))
        context.instance.add_dynamic_partitions(POSTGRES_BACKUPS, [backup])
        return dg.RunRequest(
            run_key=backup, partition_key=backup, tags={keys.BACKUP_ID_TAG: backup}
        )

    @dg.schedule(
        job=verify_job,
        cron_schedule=times.verify,
        execution_timezone="UTC",
        default_status=ON,
        description="A proof of the newest backup, read from the copy that counts.",
    )
    def weekly_restore_proof(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> dg.RunRequest | dg.SkipReason:
        installation = door.open()
        copy = copy_that_counts(installation)
        backups = readable(installation.catalog(copy))
        if not backups:
            return dg.SkipReason(f"there is no backup in the {copy} copy")
        newest = backups[-1].manifest.id
        context.instance.add_dynamic_partitions(POSTGRES_BACKUPS, [newest])
        return dg.RunRequest(
            run_key=f"{newest}-{context.scheduled_execution_time.isoformat()}",
            partition_key=newest,
            tags={keys.BACKUP_ID_TAG: newest},
        )

    return [
        daily_full_backup,
        *([] if times.incremental is None else [_hourly_incremental(times.incremental)]),
        weekly_restore_proof,
        unless_under_way(
            wal_job.name, "* * * * *", "wal_every_minute", "WAL follows offsite, minute by minute."
        ),
        unless_under_way(
            wal_audit_job.name,
            "*/5 * * * *",
            "wal_audit",
            "Gaps in the WAL archive are looked for.",
        ),
    ]


def _hourly_incremental(cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        job=backup_job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=ON,
        description="An incremental backup, or what the server allows of one.",
    )
    def hourly_incremental_backup(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> dg.RunRequest | dg.SkipReason:
        if ledger.is_under_way(context.instance, backup_job.name):
            return dg.SkipReason("a backup is under way")
        due = context.scheduled_execution_time
        backup = str(BackupId.of(door.open().settings.service, BackupKind.INCR, due))
        context.instance.add_dynamic_partitions(POSTGRES_BACKUPS, [backup])
        return dg.RunRequest(
            run_key=backup, partition_key=backup, tags={keys.BACKUP_ID_TAG: backup}
        )

    return hourly_incremental_backup


def unless_under_way(job: str, cron: str, name: str, description: str) -> dg.ScheduleDefinition:
    """A schedule that lets the previous run end first: a slow store must not fill the queue."""

    @dg.schedule(
        job_name=job,
        cron_schedule=cron,
        name=name,
        execution_timezone="UTC",
        default_status=ON,
        description=description,
    )
    def every(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if ledger.is_under_way(context.instance, job):
            return dg.SkipReason("the previous run has not ended")
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return every
