"""PostgreSQL sensors: each brings Dagster, or the other copy, in line with the repository."""

from datetime import datetime, timedelta

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.partitions import POSTGRES_BACKUPS, postgres_backups
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.in_line import InLine, Signs
from kb_dr.defs.postgres.jobs import (
    back_up_now,
    backup_job,
    dump_now,
    local_copy_job,
    offsite_copy_job,
)
from kb_dr.defs.postgres.judgement import Holdings, load_holdings
from kb_dr.defs.postgres.report import report_backup, report_red
from kb_dr.defs.postgres.requests import backup_request
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation

ON = dg.DefaultSensorStatus.RUNNING

RETRY_AFTER = timedelta(minutes=30)
"""A copy that failed is tried again in the next slot of this length."""

ASKED_WITHIN = timedelta(hours=1)
"""A wish for a backup older than this is not caught up with."""

BUDGET_SECONDS = 40.0
"""A tick has 60 seconds in all; what does not fit goes on in the next one."""

_IN_LINE = InLine()


@dg.sensor(
    job=backup_job,
    minimum_interval_seconds=5,
    default_status=ON,
    description="Requests the run of each backup that `back_up_now` or `dump_now` has named.",
)
def backups_asked_for(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Each run of these jobs leads to one backup, also when a tick is lost or repeated."""
    since = datetime.now().astimezone() - ASKED_WITHIN
    asked = [
        run
        for job in (back_up_now.name, dump_now.name)
        for run in context.instance.get_runs(
            dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=since)
        )
    ]
    known = set(context.instance.get_dynamic_partitions(POSTGRES_BACKUPS))
    wanted = [
        (run.run_id, backup)
        for run in reversed(asked)
        if (backup := run.tags.get(keys.BACKUP_ID_TAG)) in known and backup is not None
    ]
    return dg.SensorResult(
        run_requests=[
            backup_request(BackupId.parse(backup), f"asked-{run_id}") for run_id, backup in wanted
        ]
    )


@dg.sensor(
    job=offsite_copy_job,
    minimum_interval_seconds=15,
    default_status=ON,
    description="Copies each backup that another copy holds and the offsite one does not.",
)
def new_backups_go_offsite(
    context: dg.SensorEvaluationContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.SensorResult | dg.SkipReason:
    """Reads the repositories: a backup taken from the command line is copied all the same."""
    return _bring_what_lacks(context, door, "offsite", offsite_copy_job.name)


@dg.sensor(
    job=local_copy_job,
    minimum_interval_seconds=15,
    default_status=ON,
    description="Copies each backup that another copy holds and the local one does not.",
)
def new_backups_go_to_the_local_copy(
    context: dg.SensorEvaluationContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.SensorResult | dg.SkipReason:
    """The same of the local copy; it waits for no other one."""
    return _bring_what_lacks(context, door, "local", local_copy_job.name)


def _bring_what_lacks(
    context: dg.SensorEvaluationContext, door: InstallationDoor, copy: str, job: str
) -> dg.SensorResult | dg.SkipReason:
    """A run for each backup the copy lacks and has not let go of.

    One whose manifest stands there and is damaged is left to `kb-dr copy --repair`.
    """
    try:
        installation = door.open()
        if copy not in installation.copies:
            return dg.SkipReason(f"no {copy} repository is configured")
        lacking = installation.lacking(copy)
    except KbDrError as error:
        return dg.SkipReason(f"could not tell: {error}")
    busy = ledger.partitions_under_way(context.instance, [job])
    wanted = [each for each in map(str, lacking.wanted) if each not in busy]
    if not wanted:
        left = f"; {len(lacking.let_go)} were let go of there" if lacking.let_go else ""
        return dg.SkipReason(f"every backup is in the {copy} copy, or on its way{left}")
    slot = int(installation.clock.now().timestamp() // RETRY_AFTER.total_seconds())
    return dg.SensorResult(
        dynamic_partitions_requests=[postgres_backups.build_add_request(wanted)],
        run_requests=[
            dg.RunRequest(
                run_key=f"{copy}-{backup}-{slot}",
                partition_key=backup,
                tags={keys.BACKUP_ID_TAG: backup},
            )
            for backup in wanted
        ],
    )


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=ON,
    description="Brings keys, assets and checks in line with the repositories, which are the "
    "truth: after Dagster's database was lost this rebuilds what the pages show.",
)
def pages_follow_the_repository(
    context: dg.SensorEvaluationContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.SkipReason:
    """Nothing is shown as proven that the repositories do not prove.

    When a repository cannot be read what could not be told is not absent: nothing is changed but
    the lights of backups that another copy knows to be bad.
    """
    instance = context.instance
    try:
        installation = door.open()
        holdings = load_holdings(installation, partly=True)
    except KbDrError as error:
        return dg.SkipReason(f"could not tell: {error}")
    known = set(instance.get_dynamic_partitions(POSTGRES_BACKUPS))
    if holdings.silent:
        return _only_red(context, installation, holdings, known)
    busy = ledger.partitions_under_way(instance)
    present = sorted(holdings.entries)
    added = [backup for backup in present if backup not in known]
    if added:
        instance.add_dynamic_partitions(POSTGRES_BACKUPS, added)
    purged = [
        backup
        for backup in sorted(known - set(present) - busy)
        if ledger.newest(instance, keys.BACKUP, backup) is not None
    ]
    for backup in purged:
        instance.delete_dynamic_partition(POSTGRES_BACKUPS, backup)
    shown = ledger.shown(instance, keys.RESTORE_PROVEN)
    try:
        signs = Signs(instance, installation, holdings, shown)
    except KbDrError as error:
        return dg.SkipReason(f"could not tell: {error}")
    changed: list[str] = []
    unchanged: dict[str, str] = {}
    began = installation.clock.monotonic()
    resume = context.cursor or ""
    order = [b for b in present if b > resume] + [b for b in present if b <= resume]
    for backup in order:
        if backup in busy:
            continue  # its own run will say
        sign = signs.of(backup)
        if _IN_LINE.knows(backup, sign, began):
            continue
        if installation.clock.monotonic() - began > BUDGET_SECONDS:
            break
        try:
            changes = report_backup(instance, installation, holdings, backup, shown)
        except KbDrError as error:
            changes = (f"could not tell: {error}",)
        if changes:
            changed.append(f"{backup} ({', '.join(changes)})")
        elif signs.is_whole(backup):
            unchanged[backup] = sign
        context.update_cursor(backup)
    # What a run took up meanwhile was left to that run.
    for backup in unchanged.keys() & ledger.partitions_under_way(instance):
        del unchanged[backup]
    _IN_LINE.remember(unchanged, began)
    _IN_LINE.forget_all_but(present)
    return dg.SkipReason(
        f"{len(present)} backups; added {len(added)}, removed {len(purged)}, "
        f"brought in line: {'; '.join(changed) or 'none'}"
    )


def _only_red(
    context: dg.SensorEvaluationContext,
    installation: Installation,
    holdings: Holdings,
    known: set[str],
) -> dg.SkipReason:
    instance = context.instance
    busy = ledger.partitions_under_way(instance)
    shown = ledger.shown(instance, keys.RESTORE_PROVEN)
    red: list[str] = []
    began = installation.clock.monotonic()
    # Only a green light can be wrong now; the newest is looked at first.
    for backup in sorted(known & set(holdings.entries) - busy, reverse=True):
        if installation.clock.monotonic() - began > BUDGET_SECONDS:
            break
        if not shown.get(backup):
            continue
        try:
            if report_red(instance, installation, holdings, backup, shown):
                red.append(backup)
        except KbDrError as error:
            context.log.warning(f"{backup}: could not tell: {error}")
    return dg.SkipReason(
        f"could not tell: {'; '.join(holdings.silent.values())}; "
        f"known to be bad all the same: {', '.join(red) or 'none'}"
    )
