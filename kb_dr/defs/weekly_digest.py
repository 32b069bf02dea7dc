"""The weekly digest: the week in one message, sent to whom the settings name."""

from collections.abc import Sequence

import dagster as dg

from kb_dr.defs.postgres.assets import at_work
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.postgres.schedules import ON
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes


@dg.op
def tell_the_week(context: dg.OpExecutionContext, door: dg.ResourceParam[InstallationDoor]) -> None:
    """Sent once for each ISO week, however often it is launched."""
    with at_work(context):
        notice = door.open().tell_the_week(run_id=context.run_id)
    context.log.info(f"{notice.id}: {notice.seen}")


@dg.job(
    executor_def=dg.in_process_executor,
    tags=ends_after(HOUR),
    description="The week in one message, to whom the settings name.",
)
def weekly_digest_job() -> None:
    """One step."""
    tell_the_week()


def make_digest_schedules(times: ScheduleTimes) -> Sequence[dg.ScheduleDefinition]:
    """The digest's schedule; none where it is off."""
    if times.digest is None:
        return []
    return [
        dg.ScheduleDefinition(
            name="weekly_digest",
            job=weekly_digest_job,
            cron_schedule=times.digest,
            execution_timezone="UTC",
            default_status=ON,
            description="The week in one message, also when nothing went wrong.",
        )
    ]
