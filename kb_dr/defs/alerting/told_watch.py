"""The newest watch that came to its end, once what it saw was handed on.

A dead man's switch is told of it from here, and not by the run: a watch whose alerts go nowhere
is as good as none.
"""

from datetime import UTC, datetime

import dagster as dg

from kb_dr.domain.watch_checks import MINUTE_CHECKS

WATCH_JOB = "watch_job"

_RUNS_READ = 5


def newest_whole_watch(instance: dg.DagsterInstance, since: datetime | None) -> datetime | None:
    """When the newest run began in which every check of a minute spoke, whatever it said.

    None when none began after ``since``. One that lies ahead of the clock, which was set back
    meanwhile, is as good as none.
    """
    if since is not None and since > datetime.now(UTC):
        since = None
    records = instance.get_run_records(
        dg.RunsFilter(job_name=WATCH_JOB, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=_RUNS_READ
    )
    for record in records:
        if record.start_time is None:
            continue
        began = datetime.fromtimestamp(record.start_time, UTC)
        if since is not None and began <= since:
            return None
        if _is_whole(instance, record.dagster_run.run_id):
            return began
    return None


def _is_whole(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whoever launches a run may choose some of its checks."""
    found = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    spoke = {
        event.asset_check_evaluation_data.check_name
        for record in found
        if (event := record.event_log_entry.dagster_event) is not None
    }
    return spoke >= set(MINUTE_CHECKS)
