"""When a run has to bring WAL to another copy: each minute that something is there to bring."""

from datetime import timedelta

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.resources import InstallationDoor
from kb_dr.errors import KbDrError

ANYWAY_AFTER = timedelta(minutes=4, seconds=30)
"""The longest without a run, looked at each minute: the page shows the archive, and the dead man's
switch of WAL hears of it, every five minutes as docs/monitoring.md has it.
"""


def follow_where_needed(
    context: dg.ScheduleEvaluationContext, door: InstallationDoor, job: str, copy: str
) -> dg.RunRequest | dg.SkipReason:
    """A run of this job, unless two listings say that it would find nothing to do.

    A run is a process of its own, and takes some hundred times as much as the listings. It is left
    out only behind one that went well: after one that failed there is no rest, and a place that
    does not answer is for the run to complain of.
    """
    if ledger.is_under_way(context.instance, job):
        return dg.SkipReason("the previous run has not ended")
    wanted = dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())
    since = context.scheduled_execution_time - ANYWAY_AFTER
    if not ledger.succeeded_since(context.instance, job, since):
        return wanted
    try:
        installation = door.open()
        lacks = copy in installation.copies and installation.lacks_wal(copy)
    except KbDrError as error:
        context.log.warning(f"nobody can tell whether the {copy} copy lacks WAL: {error}")
        return wanted
    return wanted if lacks else dg.SkipReason(f"the {copy} copy lacks no WAL")
