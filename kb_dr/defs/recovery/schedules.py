"""Recovery schedules, all in UTC."""

from collections.abc import Sequence

import dagster as dg

from kb_dr.defs.postgres.judgement import copy_that_counts
from kb_dr.defs.postgres.schedules import ON
from kb_dr.defs.recovery.jobs import negative_controls_job
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.operations.catalog import readable


def make_schedules(times: ScheduleTimes) -> Sequence[dg.ScheduleDefinition]:
    """Every schedule, at these times."""

    @dg.schedule(
        job=negative_controls_job,
        cron_schedule=times.controls,
        execution_timezone="UTC",
        default_status=ON,
        description="Damaged copies of the newest proven backup, handed to the verifier.",
    )
    def monthly_negative_controls(
        context: dg.ScheduleEvaluationContext, door: dg.ResourceParam[InstallationDoor]
    ) -> dg.RunRequest | dg.SkipReason:
        installation = door.open()
        copy = copy_that_counts(installation)
        if not readable(installation.catalog(copy)):
            return dg.SkipReason(f"there is no backup in the {copy} copy")
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return [monthly_negative_controls]
