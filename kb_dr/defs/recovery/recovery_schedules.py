"""When recovery is drilled, in UTC."""

from collections.abc import Sequence

import dagster as dg

from kb_dr.defs.postgres.schedules import ON, unless_under_way
from kb_dr.defs.recovery.drill import (
    disaster_recovery_drill,
    form_of,
    monthly_restore_test,
)
from kb_dr.defs.recovery.readiness import readiness_job
from kb_dr.defs.resources import ScheduleTimes


def make_recovery_schedules(times: ScheduleTimes) -> Sequence[dg.ScheduleDefinition]:
    """Every schedule, at these times."""
    # The form stands in each: a schedule launches with the defaults of the asset, not of the job.
    return [
        dg.ScheduleDefinition(
            name="quarterly_drill",
            job=disaster_recovery_drill,
            cron_schedule=times.drill,
            execution_timezone="UTC",
            default_status=ON,
            run_config=form_of(to_the_end=False),
            description="A drill to a drawn time; the copies take turns.",
        ),
        dg.ScheduleDefinition(
            name="monthly_restore_to_the_end",
            job=monthly_restore_test,
            cron_schedule=times.restore_test,
            execution_timezone="UTC",
            default_status=ON,
            run_config=form_of(to_the_end=True),
            description="A drill to the end of the archive; the copies take turns.",
        ),
        unless_under_way(
            readiness_job.name,
            "40 * * * *",
            "readiness_watch",
            "Could we recover now: the page anew, and how long ago a drill was passed.",
        ),
    ]
