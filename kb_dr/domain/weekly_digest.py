"""The week in one message: what a person reads on Monday, also when nothing went wrong."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from kb_dr.domain import trends
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.readiness import Exercise, Measure, OpenAlert, Readiness
from kb_dr.domain.readiness_markdown import percent
from kb_dr.domain.severity import Severity
from kb_dr.domain.wording import age, first_few, moment, size

WEEK = timedelta(days=7)
KIND = "weekly_digest"

_MOST_ALERTS = 8


def weekly_digest(
    readiness: Readiness, alerts: Sequence[OpenAlert] | None, *, run_id: str = ""
) -> Notice:
    """The digest of the seven days before a readiness.

    ``alerts`` are all there were, open or not; None when they could not be read. Its id is that
    of the ISO week: however often it is made, each week is told once.
    """
    year, week, _ = readiness.at.isocalendar()
    return Notice(
        id=f"digest/{year}-W{week:02}",
        key="digest",
        kind=KIND,
        state=State.TOLD,
        severity=Severity.INFO,
        at=readiness.at,
        seen=readiness.verdict,
        do="; ".join(readiness.next_steps) or "Nothing has to be done.",
        run_id=run_id,
        facts=tuple(_facts(readiness, alerts)),
    )


def _facts(readiness: Readiness, alerts: Sequence[OpenAlert] | None) -> Iterator[tuple[str, str]]:
    since = readiness.at - WEEK
    for each in readiness.measures:
        yield each.name[0].upper() + each.name[1:].replace(":", ","), _measured(each)
    yield "Full backups of the week", _backups(readiness, since)
    yield "Proven restores of the week", str(len(readiness.trends.of_late(trends.RTO, since)))
    coverage = readiness.coverage
    yield (
        "Retained backups with a fresh proof",
        percent(coverage.backups if coverage else None, report=coverage is not None),
    )
    yield "Last recovery drill", _exercise(readiness.drill)
    yield "Last negative controls", _exercise(readiness.controls)
    for copy in readiness.copies:
        stored = "not known" if copy.stored_bytes is None else size(copy.stored_bytes)
        grows = "" if copy.bytes_a_day is None else f", {size(7 * copy.bytes_a_day)} a week"
        yield f"Stored in {copy.copy}", f"{stored}{grows}"
    yield "Alerts of the week", _alerts(alerts, since)
    for number, step in enumerate(readiness.next_steps, 1):
        yield f"To do, {number}", step


def _measured(measure: Measure) -> str:
    return f"{age(measure.measured_seconds)}, allowed {age(measure.allowed_seconds)}"


def _backups(readiness: Readiness, since: datetime) -> str:
    taken = readiness.trends.of_late(trends.FULL_BYTES, since)
    return f"{len(taken)}, the newest {size(taken[-1].value)}" if taken else "none"


def _exercise(done: Exercise | None) -> str:
    if done is None:
        return "none that can be read"
    return f"{'passed' if done.passed else 'NOT passed'}, {moment(done.at)}"


def _alerts(alerts: Sequence[OpenAlert] | None, since: datetime) -> str:
    if alerts is None:
        return "they could not be read"
    late = [
        each for each in alerts
        if each.closed_at is None or each.opened_at >= since or each.closed_at >= since
    ]  # fmt: skip
    if not late:
        return "none"
    late.sort(key=lambda each: (each.closed_at is not None, -each.severity.rank, each.opened_at))
    lines = [f"{each.title} ({'open' if each.closed_at is None else 'mended'})" for each in late]
    still = sum(each.closed_at is None for each in late)
    return f"{len(late)}, {still} of them open: {'; '.join(first_few(lines, _MOST_ALERTS))}"
