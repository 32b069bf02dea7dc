"""What all that was looked at comes to, in one word and one sentence. Never yes on a guess."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.control import ControlRun
from kb_dr.domain.drill import Drill
from kb_dr.domain.finding import Finding
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.objective import Limits
from kb_dr.domain.proof import Outcome
from kb_dr.domain.proven_base import newest_proven_window
from kb_dr.domain.readiness import (
    MOST_STEPS,
    Answer,
    CopyReadiness,
    Exercise,
    OpenAlert,
    Readiness,
    worst_first,
)
from kb_dr.domain.readiness_measures import measures_of
from kb_dr.domain.severity import Severity
from kb_dr.domain.status import CopyStatus, Status
from kb_dr.domain.trends import Trends, growth
from kb_dr.domain.wording import age

ALERTS = "open alerts"
BACKUPS = "backups"


@dataclass(frozen=True, slots=True)
class Looked:
    """Everything a readiness is judged by."""

    service: str
    status: Status
    limits: Limits
    reports: Sequence[IntegrityReport]
    """Of late, oldest first."""
    drills: Sequence[Drill]
    """Those that could be read, oldest first; the status has a finding on them."""
    controls: Sequence[ControlRun]
    """The same of negative controls, in order."""
    alerts: Sequence[OpenAlert] | None
    """Those open; None when they could not be read."""
    alerts_problem: str
    trends: Trends
    also: Sequence[Finding] = ()
    """Further findings that have to be good, such as the integrity report's."""


def judge_readiness(looked: Looked) -> Readiness:
    """The readiness, from what was seen at one moment.

    YES: every finding is good, no critical alert is open, and the moment, the loss and the time
    of a restore are known for every copy. NO: something is known to be bad. Anything else could
    not be told, whatever else looks well.
    """
    status = looked.status
    copies = tuple(_copy(each, status, looked.reports) for each in status.copies)
    findings = (
        *_backups(status),
        *status.objectives,
        *looked.also,
        _alerts(looked.alerts, looked.alerts_problem),
    )
    answer = _answer(status, copies, findings)
    newest = looked.reports[-1] if looked.reports else None
    alerts = looked.alerts
    return Readiness(
        service=looked.service,
        at=status.now,
        answer=answer,
        verdict=_verdict(answer, copies, findings, looked.limits),
        measures=measures_of(status, looked.limits),
        copies=copies,
        coverage=newest.coverage if newest else None,
        coverage_at=newest.at if newest else None,
        drill=_drill(looked.drills),
        controls=_controls(looked.controls),
        alerts=None if alerts is None else tuple(sorted(alerts, key=_loudness)),
        alerts_problem=looked.alerts_problem if alerts is None else "",
        findings=findings,
        next_steps=_next_steps(findings, alerts or ()),
        trends=looked.trends,
        notes=status.notes,
    )


def _answer(status: Status, copies: Sequence[CopyReadiness], findings: Sequence[Finding]) -> Answer:
    if any(each.outcome is Outcome.FAILED for each in findings):
        return Answer.NO
    known = bool(copies) and all(
        each.recoverable_to is not None
        and each.loss_seconds is not None
        and each.restore_seconds is not None
        for each in copies
    )
    good = status.holds and status.recoverable and all(each.good for each in findings)
    return Answer.YES if known and good else Answer.COULD_NOT_TELL


def _backups(status: Status) -> Iterator[Finding]:
    """Nothing stored where everything could be looked at is no matter of not knowing."""
    copies = status.copies
    if copies and not any(each.problem or each.unreadable or each.backups for each in copies):
        hint = "`kb-dr backup full`, then `kb-dr copy`."
        yield Finding(BACKUPS, Outcome.FAILED, "there is none in any copy", hint)


def _alerts(alerts: Sequence[OpenAlert] | None, problem: str) -> Finding:
    if alerts is None:
        return Finding(
            ALERTS,
            Outcome.COULD_NOT_RUN,
            problem or "nobody keeps any",
            "`kb-dr alerts list`, `kb-dr doctor`.",
        )
    loud = [each for each in alerts if each.severity is Severity.CRITICAL]
    if loud:
        oldest = min(loud, key=lambda each: each.opened_at)
        more = f"; {len(loud)} critical ones in all" if len(loud) > 1 else ""
        seen = f"{oldest.title}, since {_utc(oldest.opened_at)}{more}"
        return Finding(ALERTS, Outcome.FAILED, seen, oldest.do or "`kb-dr alerts list`")
    return Finding(ALERTS, Outcome.PASSED, f"{len(alerts)}, none of them critical")


def _verdict(
    answer: Answer,
    copies: Sequence[CopyReadiness],
    findings: Sequence[Finding],
    limits: Limits,
) -> str:
    if answer is Answer.YES:
        return f"Ready: {_can(copies, f' (allowed {age(limits.rto_seconds)})')}."
    bad = worst_first(findings)
    first = f"{bad[0].subject}: {bad[0].seen}" if bad else "not everything could be measured"
    more = f"; and {len(bad) - 1} more" if len(bad) > 1 else ""
    if answer is Answer.NO:
        return f"NOT ready: {first}{more}."
    known = [each for each in copies if each.recoverable_to is not None and not each.problem]
    still = f" As far as anybody can see, {_can(known)}." if known else ""
    return f"Could not tell whether we are ready: {first}{more}.{still}"


def _can(copies: Sequence[CopyReadiness], allowed: str = "") -> str:
    """What all of these copies allow: the oldest of their ends, the slowest of their restores."""
    ends = [each.recoverable_to for each in copies if each.recoverable_to is not None]
    times = [each.restore_seconds for each in copies if each.restore_seconds is not None]
    within = f"within about {age(max(times))}" if len(times) == len(copies) else "in unknown time"
    return (
        f"this service can be restored to {_utc(min(ends))}, {within}{allowed}, from "
        f"{_counted(copies)}"
    )


def _counted(copies: Sequence[CopyReadiness]) -> str:
    names = ", ".join(each.copy for each in copies)
    if len(copies) == 1:
        return f"one copy ({names})"
    words = {2: "two", 3: "three"}
    return f"{words.get(len(copies), len(copies))} copies ({names})"


def _copy(copy: CopyStatus, status: Status, reports: Sequence[IntegrityReport]) -> CopyReadiness:
    proven = newest_proven_window(copy, status.copies)
    end = proven.window.end if proven else None
    rpo = next((each.seconds for each in status.rpo if each.copy == copy.copy), None)
    told = [each.forecast.seconds for each in status.forecasts if each.copy == copy.copy]
    sizes = [
        (report.at, float(each.stored_bytes))
        for report in reports
        for each in report.copies
        if each.copy == copy.copy and each.url == copy.url and not each.problem
    ]
    return CopyReadiness(
        copy=copy.copy,
        url=copy.url,
        problem=copy.problem,
        backups=len(copy.backups),
        newest=copy.newest_backup.id if copy.newest_backup else None,
        begins_at=min((each.begins_at for each in copy.windows), default=None),
        recoverable_to=end.at if end else None,
        loss_seconds=rpo,
        restore_seconds=told[0] if told else None,
        stored_bytes=int(sizes[-1][1]) if sizes else None,
        bytes_a_day=growth(sizes),
    )


def _drill(drills: Sequence[Drill]) -> Exercise | None:
    if not drills:
        return None
    last = max(drills, key=lambda each: (each.finished, each.id))
    rpo = "not known" if last.rpo_seconds is None else age(last.rpo_seconds)
    seen = f"RTO {age(last.rto_seconds)}, RPO {rpo}"
    if last.shortfalls:
        seen = f"{seen}; {'; '.join(last.shortfalls)}"
    return Exercise(last.id, last.finished, last.copy, last.passed, seen)


def _controls(runs: Sequence[ControlRun]) -> Exercise | None:
    if not runs:
        return None
    last = runs[-1]
    bad = [f"{each.damage} {each.outcome}" for each in (*last.blind, *last.misjudged)]
    good = sum(each.outcome == "good" for each in last.results)
    seen = ", ".join(bad) or f"{good} of {len(last.results)} kinds of damage were seen and named"
    return Exercise(last.id, last.finished, last.copy, last.passed, seen)


def _next_steps(findings: Sequence[Finding], alerts: Sequence[OpenAlert]) -> tuple[str, ...]:
    """The hints of what is worst, each once; then what open alerts ask for."""
    wanted = [(each.hint, each.subject) for each in worst_first(findings)]
    wanted += [(each.do, each.title) for each in sorted(alerts, key=_loudness)]
    first: dict[str, str] = {}
    for hint, subject in wanted:
        if hint:
            first.setdefault(hint, subject)
    return tuple(f"{subject}: {hint}" for hint, subject in first.items())[:MOST_STEPS]


def _loudness(alert: OpenAlert) -> tuple[int, datetime]:
    return -alert.severity.rank, alert.opened_at


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
