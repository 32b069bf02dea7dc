"""The look of a minute, taken in the code server: a run is for what has to be recorded.

A run is a process that loads Dagster anew, and takes some twenty times as much as the look itself.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.alerting.told_watch import newest_whole_watch
from kb_dr.defs.check_results import check_result, news_of, news_shown
from kb_dr.defs.evaluations import Evaluated, newest_of_each
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.proof import Outcome
from kb_dr.domain.watch_checks import MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr.errors import KbDrError

ANYWAY_AFTER = timedelta(minutes=4, seconds=30)
"""The longest without a run, looked at each minute: that the watch is alive is told by its runs."""

LOOK_SECONDS = 20.0
"""A tick has 60 in all, and others wait for it; what takes longer is for the run to wait for."""

_looking = threading.Lock()
"""Held by the one look at a time that a process takes."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the watch saw here and now."""

    watched: Sequence[Watched]
    at: datetime
    grace_seconds: float


def watch_where_needed(
    context: dg.ScheduleEvaluationContext, door: InstallationDoor, job: str
) -> dg.RunRequest | dg.SkipReason:
    """A run of this job, unless a look here and now comes to what the page shows.

    It is left out only behind a whole one that went well, and while each check has the same light,
    outcome, severity, subjects and hint; numbers and ages alone are no news. Whatever keeps the
    look from being taken asks for a run.
    """
    if ledger.is_under_way(context.instance, job):
        return dg.SkipReason("the previous run has not ended")
    wanted = dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())
    since = context.scheduled_execution_time - ANYWAY_AFTER
    if not ledger.succeeded_since(context.instance, job, since):
        return wanted
    if newest_whole_watch(context.instance, since) is None:
        return wanted
    look = _look(door)
    if look is None:
        context.log.warning("the look was not to be had here; a run takes it")
        return wanted
    checks = [
        dg.AssetCheckKey(dg.AssetKey(list(asset)), name) for name, asset in MINUTE_CHECKS.items()
    ]
    shown = {each.check: each for each in newest_of_each(context.instance, checks)}
    seen = {each.name: each for each in look.watched}
    for check in checks:
        if check.name not in seen or check not in shown:
            return wanted
        if not _says_the_same(check, seen[check.name], shown[check], look):
            return wanted
    return dg.SkipReason(f"looked: all {len(checks)} checks are as the page shows them")


def _says_the_same(check: dg.AssetCheckKey, watched: Watched, shown: Evaluated, look: Look) -> bool:
    """Whether a run would record what stands there, but for its numbers and ages."""
    unsure = watched.outcome is Outcome.COULD_NOT_RUN
    would_be = check_result(
        check,
        watched,
        at=look.at,
        before=shown if unsure else None,
        grace_seconds=look.grace_seconds,
    )
    return news_of(would_be) == news_shown(shown)


def _look(door: InstallationDoor) -> Look | None:
    """What the watch sees now; None when it cannot be told, or not in time.

    In a thread of its own, which is left to itself when a place takes too long to answer; until
    it ends no other look is taken here.
    """
    if not _looking.acquire(blocking=False):
        return None
    found: list[Look] = []

    def look() -> None:
        try:
            installation = door.open()
            watched = installation.watch()
            grace = installation.settings.alerting.grace_seconds
            found.append(Look(watched, installation.clock.now(), grace))
        except KbDrError:
            return  # the run meets the same, and says it
        finally:
            _looking.release()

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    thread.join(LOOK_SECONDS)
    return found[0] if found else None
