"""The look of a minute, taken in the code server: a run is for what has to be recorded.

A run is a process that loads Dagster anew, and takes some twenty times as much as the look itself.
"""

import threading
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.alerting.told_watch import newest_whole_watch
from kb_dr.defs.check_results import OUTCOME
from kb_dr.defs.evaluations import newest_of_each
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.proof import Outcome
from kb_dr.domain.watch_checks import MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr.errors import KbDrError

ANYWAY_AFTER = timedelta(minutes=4, seconds=30)
"""The longest without a run, looked at each minute: that the watch is alive is told by its runs."""

LOOK_SECONDS = 20.0
"""A tick has 60 in all, and others wait for it; what takes longer is for the run to wait for."""

GOOD = {Outcome.PASSED, Outcome.NOT_APPLICABLE}

_looking = threading.Lock()
"""Held by the one look at a time that a process takes."""


def watch_where_needed(
    context: dg.ScheduleEvaluationContext, door: InstallationDoor, job: str
) -> dg.RunRequest | dg.SkipReason:
    """A run of this job, unless a look here and now shows all as good as the page has it.

    It is left out only behind a whole one that went well, and while everything is good: what is
    red or cannot be told is recorded each minute, and so is each change. Whatever keeps the look
    from being taken asks for a run.
    """
    if ledger.is_under_way(context.instance, job):
        return dg.SkipReason("the previous run has not ended")
    wanted = dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())
    since = context.scheduled_execution_time - ANYWAY_AFTER
    if not ledger.succeeded_since(context.instance, job, since):
        return wanted
    if newest_whole_watch(context.instance, since) is None:
        return wanted
    shown = _shown(context.instance)
    if shown.keys() != MINUTE_CHECKS.keys() or not GOOD.issuperset(shown.values()):
        return wanted
    seen = _look(door)
    if seen is None:
        context.log.warning("the look was not to be had here; a run takes it")
        return wanted
    if {each.name: str(each.outcome) for each in seen} != shown:
        return wanted
    return dg.SkipReason(f"looked: all {len(seen)} checks are as good as the page shows them")


def _shown(instance: dg.DagsterInstance) -> dict[str, str]:
    """What the page shows of each check of a minute; one that never spoke is left out."""
    checks = [
        dg.AssetCheckKey(dg.AssetKey(list(asset)), name) for name, asset in MINUTE_CHECKS.items()
    ]
    return {
        each.check.name: each.texts.get(OUTCOME, "") if each.passed else str(Outcome.FAILED)
        for each in newest_of_each(instance, checks)
    }


def _look(door: InstallationDoor) -> Sequence[Watched] | None:
    """What the watch sees now; None when it cannot be told, or not in time.

    In a thread of its own, which is left to itself when a place takes too long to answer; until
    it ends no other look is taken here.
    """
    if not _looking.acquire(blocking=False):
        return None
    found: list[Sequence[Watched]] = []

    def look() -> None:
        try:
            found.append(door.open().watch())
        except KbDrError:
            return  # the run meets the same, and says it
        finally:
            _looking.release()

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    thread.join(LOOK_SECONDS)
    return found[0] if found else None
