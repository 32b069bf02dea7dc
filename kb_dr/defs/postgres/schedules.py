"""PostgreSQL schedules, all in UTC."""

from collections.abc import Sequence

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.assets import restore_proof
from kb_dr.defs.postgres.follow_wal import follow_where_needed
from kb_dr.defs.postgres.jobs import (
    backup_job,
    local_wal_job,
    verify_job,
    wal_audit_job,
    wal_job,
)
from kb_dr.defs.postgres.judgement import copy_that_counts
from kb_dr.defs.postgres.requests import backup_request, is_asked_for
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain.backup_families import DUMPS, FAMILIES, family_of_id
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.proof import Standing
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation
from kb_dr.operations.catalog import readable

ON = dg.DefaultScheduleStatus.RUNNING

PROOF_OP = restore_proof.op.name
"""What the Launchpad calls the step that takes ``copy_read``."""


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
        return _backup_due(context, door, BackupKind.FULL)

    @dg.schedule(
        job=verify_job,
        cron_schedule=times.verify,
        execution_timezone="UTC",
        default_status=ON,
        description="A proof of the newest backup, read from the copy that counts, one from "
        "another copy, in turn, one of the newest dump, and one that retention waits for.",
    )
    def weekly_restore_proof(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        installation = door.open()
        counting, *others = _copies_to_prove(context, installation)
        requests = [
            request
            for copy in (counting, *others)
            if (request := _proof_of(context, installation, copy, needed=copy == counting))
        ]
        if times.dump is not None:
            requests += _proof_of_dump(context, installation, counting)
        if not requests:
            return dg.SkipReason(f"there is no backup in the {counting} copy")
        asked = {request.partition_key for request in requests}
        waited_for = _waited_for(context, installation, counting)
        for family in FAMILIES:
            requests += [
                _proof_request(context, backup, counting)
                for backup in waited_for
                if backup not in asked and family_of_id(backup) is family
            ][:1]
        context.instance.add_dynamic_partitions(
            POSTGRES_BACKUPS, sorted({str(request.partition_key) for request in requests})
        )
        return requests

    @dg.schedule(
        job=local_wal_job,
        cron_schedule="* * * * *",
        execution_timezone="UTC",
        default_status=ON,
        description="WAL follows to the local copy, minute by minute.",
    )
    def wal_to_the_local_copy(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> dg.RunRequest | dg.SkipReason:
        # A job of its own: a region that is down must not hold up the disk beside us.
        if "local" not in door.open().copies:
            return dg.SkipReason("no local repository is configured")
        return follow_where_needed(context, door, local_wal_job.name, "local")

    @dg.schedule(
        job=wal_job,
        cron_schedule="* * * * *",
        execution_timezone="UTC",
        default_status=ON,
        description="WAL follows offsite, minute by minute.",
    )
    def wal_every_minute(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> dg.RunRequest | dg.SkipReason:
        return follow_where_needed(context, door, wal_job.name, "offsite")

    return [
        daily_full_backup,
        *([] if times.incremental is None else [_hourly_incremental(times.incremental)]),
        *([] if times.dump is None else [_weekly_dump(times.dump)]),
        weekly_restore_proof,
        wal_every_minute,
        wal_to_the_local_copy,
        unless_under_way(
            wal_audit_job.name,
            "*/5 * * * *",
            "wal_audit",
            "Gaps in the WAL archive are looked for.",
        ),
    ]


def _copies_to_prove(
    context: dg.ScheduleEvaluationContext, installation: Installation
) -> tuple[str, ...]:
    """See domain/copies.py for the rule. The copy that counts waits for no record of the others."""
    try:
        return installation.copies_to_prove()
    except KbDrError as error:
        context.log.warning(f"nobody can tell whose turn it is: {error}")
        return (copy_that_counts(installation),)


def _proof_of(
    context: dg.ScheduleEvaluationContext, installation: Installation, copy: str, *, needed: bool
) -> dg.RunRequest | None:
    """A run that proves the newest backup of one copy; None when there is nothing to prove.

    ``needed``: a copy that cannot be read fails the tick.
    """
    try:
        backups = readable(installation.catalog(copy))
    except KbDrError as error:
        if needed:
            raise
        context.log.warning(f"no proof is asked of the {copy} copy: {error}")
        return None
    if not backups:
        return None
    return _proof_request(context, backups[-1].manifest.id, copy)


def _proof_of_dump(
    context: dg.ScheduleEvaluationContext, installation: Installation, copy: str
) -> list[dg.RunRequest]:
    """A run that proves the newest dump of one copy, unless it is proven.

    Of its own: a proof of a dump says nothing of base backups, and the reverse.
    """
    try:
        dumps = readable(installation.catalog(copy, kinds=DUMPS))
        if not dumps:
            return []
        newest = dumps[-1]
        proven = installation.standings(newest, [copy])[copy] is Standing.PROVEN
    except KbDrError as error:
        context.log.warning(f"no proof is asked of a dump in the {copy} copy: {error}")
        return []
    return [] if proven else [_proof_request(context, newest.manifest.id, copy)]


def _waited_for(
    context: dg.ScheduleEvaluationContext, installation: Installation, copy: str
) -> tuple[str, ...]:
    """What retention would have proven: the newest of a month, say, is seldom the newest of all."""
    try:
        return installation.backups_to_prove(copy)
    except KbDrError as error:
        context.log.warning(f"nobody can tell what retention waits for in {copy}: {error}")
        return ()


def _proof_request(context: dg.ScheduleEvaluationContext, backup: str, copy: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{backup}-{copy}-{context.scheduled_execution_time.isoformat()}",
        partition_key=backup,
        tags={keys.BACKUP_ID_TAG: backup},
        run_config={"ops": {PROOF_OP: {"config": {"copy_read": copy}}}},
    )


def _hourly_incremental(cron: str) -> dg.ScheduleDefinition:
    return _unless_under_way(
        "hourly_incremental_backup",
        cron,
        BackupKind.INCR,
        "a backup is under way",
        description="An incremental backup, or what the server allows of one.",
    )


def _weekly_dump(cron: str) -> dg.ScheduleDefinition:
    return _unless_under_way(
        "weekly_logical_dump",
        cron,
        BackupKind.DUMP,
        "a dump is under way",
        description="A logical dump of the database; a base backup may run beside it.",
    )


def _unless_under_way(
    name: str, cron: str, kind: BackupKind, under_way: str, *, description: str
) -> dg.ScheduleDefinition:
    """Backups of one kind, each passed over while one that it must not run beside is going on."""

    @dg.schedule(
        name=name,
        job=backup_job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=ON,
        description=description,
    )
    def due(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> dg.RunRequest | dg.SkipReason:
        if is_asked_for(context.instance, backup_job.name, dump=kind is BackupKind.DUMP):
            return dg.SkipReason(under_way)
        return _backup_due(context, door, kind)

    return due


def _backup_due(
    context: dg.ScheduleEvaluationContext, door: InstallationDoor, kind: BackupKind
) -> dg.RunRequest:
    """A run of a backup that is named by the time it was due."""
    due = context.scheduled_execution_time
    backup = BackupId.of(door.open().settings.service, kind, due)
    context.instance.add_dynamic_partitions(POSTGRES_BACKUPS, [str(backup)])
    return backup_request(backup, str(backup))


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
