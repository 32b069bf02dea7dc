"""Could we recover now, and how did that go of late: all of it read once, on one page."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from kb_dr.domain.control import ControlRun
from kb_dr.domain.drill import Drill
from kb_dr.domain.finding import Finding
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.judge_integrity import RECENT_DAYS, JudgedReports
from kb_dr.domain.judge_readiness import Looked, judge_readiness
from kb_dr.domain.objective import Limits
from kb_dr.domain.proof import Outcome
from kb_dr.domain.readiness import OpenAlert, Readiness
from kb_dr.domain.status import Status
from kb_dr.domain.wording import age
from kb_dr.errors import KbDrError, RepositoryError
from kb_dr.operations.gather_trends import gather_trends
from kb_dr.operations.status import initialised_at
from kb_dr.ports import Repository

REPORT = "integrity report"
WATCH = "watch"

WATCH_SECONDS = 900.0
"""An older watch is taken for a dead one, as by the alert KbDrWatchDead."""

T = TypeVar("T")


def take_readiness(
    places: Sequence[Repository],
    limits: Limits,
    *,
    service: str,
    org: str,
    status: Status,
    reports: Callable[[], Sequence[IntegrityReport]],
    judged: Callable[[], JudgedReports | None],
    drills: Callable[[], Sequence[Drill]],
    controls: Callable[[], Sequence[ControlRun]],
    alerts: Callable[[], Sequence[OpenAlert]],
    watched_at: Callable[[], datetime | None],
) -> Readiness:
    """The readiness at the moment of ``status``. Raises nothing of ours.

    What cannot be read is missing on the page, and never makes for a yes: the status has findings
    on drills and controls of its own, and whatever else fails here becomes one.
    """
    also: list[Finding] = []
    known: Sequence[IntegrityReport] = ()
    try:
        known = reports()
        also.append(_judge_report(judged(), places, status, service=service, org=org))
    except RepositoryError as error:
        also.append(Finding(REPORT, Outcome.COULD_NOT_RUN, str(error), error.hint))
    also.append(_judge_watch(watched_at(), status.now))
    found_alerts, problem = _alerts(alerts)
    return judge_readiness(
        Looked(
            service=service,
            status=status,
            limits=limits,
            reports=known,
            drills=_or_none(drills),
            controls=_or_none(controls),
            alerts=found_alerts,
            alerts_problem=problem,
            trends=gather_trends(places, known, status.now),
            also=also,
        )
    )


def _judge_report(
    judged: JudgedReports | None,
    places: Sequence[Repository],
    status: Status,
    *,
    service: str,
    org: str,
) -> Finding:
    """The newest report of every copy found nothing wrong; of a new repository none is due."""
    if judged is not None:
        if judged.wrong:
            more = f"; and {len(judged.wrong) - 1} more" if len(judged.wrong) > 1 else ""
            hint = "`kb-dr report --last` shows it all; docs/backup-audit.md says what to do."
            return Finding(REPORT, Outcome.FAILED, f"{judged.wrong[0]}{more}", hint)
        return Finding(REPORT, Outcome.PASSED, f"{judged.report.id}: nothing is wrong")
    made = initialised_at(places, service, org, status.now)
    if made is not None and (status.now - made).total_seconds() <= RECENT_DAYS * 86400:
        return Finding(REPORT, Outcome.NOT_APPLICABLE, "none has been made, none is due yet")
    seen = f"there is none of the last {RECENT_DAYS:g} days"
    return Finding(REPORT, Outcome.COULD_NOT_RUN, seen, "`kb-dr report` makes one.")


def _judge_watch(at: datetime | None, now: datetime) -> Finding:
    """That no alert is open says something only where somebody would have opened one."""
    hint = "Start Dagster's daemon and code server; look at the runs of `watch_job`, and at doctor."
    if at is None:
        seen = "it never came to its end, or nobody noted it: alerts are opened by it alone"
        return Finding(WATCH, Outcome.COULD_NOT_RUN, seen, hint)
    seconds = (now - at).total_seconds()
    seen = f"last complete {age(max(0.0, seconds))} ago, allowed {age(WATCH_SECONDS)}"
    if seconds <= WATCH_SECONDS:
        return Finding(WATCH, Outcome.PASSED, seen)
    return Finding(WATCH, Outcome.COULD_NOT_RUN, seen, hint)


def _alerts(
    read: Callable[[], Sequence[OpenAlert]],
) -> tuple[Sequence[OpenAlert] | None, str]:
    try:
        return read(), ""
    except KbDrError as error:
        return None, str(error)


def _or_none(read: Callable[[], Sequence[T]]) -> Sequence[T]:
    """What there is; the status says by itself why nothing can be read."""
    try:
        return read()
    except RepositoryError:
        return ()
