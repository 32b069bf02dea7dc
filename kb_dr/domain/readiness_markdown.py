"""Readiness in markdown: one page for whoever answers for the service."""

from collections.abc import Iterable, Iterator, Sequence

from kb_dr.domain.proof import Outcome
from kb_dr.domain.readiness import Answer, Exercise, Measure, Readiness
from kb_dr.domain.wording import age, first_few, moment, size

_TITLES = {
    Answer.YES: "READY",
    Answer.NO: "NOT READY",
    Answer.COULD_NOT_TELL: "NOBODY CAN TELL",
}
_HOLDS = {
    Outcome.PASSED: "yes",
    Outcome.FAILED: "**NO**",
    Outcome.COULD_NOT_RUN: "**not known**",
    Outcome.NOT_APPLICABLE: "not due yet",
}
_MOST_LINES = 10


def readiness_markdown(readiness: Readiness, *, picture: str = "") -> str:
    """The whole page; ``picture`` is the address of the plots, or the plots themselves."""
    parts = [
        f"# {_TITLES[readiness.answer]}: recovery of {readiness.service}",
        f"**{readiness.verdict}**\n",
        f"Looked at {moment(readiness.at)}.\n",
        "## What to do next",
        _list(readiness.next_steps, "Nothing has to be done."),
        "## Promised and measured",
        _table(
            ("what", "allowed", "measured", "holds", "of"),
            (measure_row(each) for each in readiness.measures),
        ),
        *_lacking(readiness),
        "## Copies",
        _table(COPY_COLUMNS, copy_rows(readiness)),
        "## What was shown to work",
        _table(("what", "when", "result"), shown_rows(readiness)),
        "## Open alerts",
        _alerts(readiness),
    ]
    if picture:
        parts += [f"## The last {_days(readiness)} days", f"![trends]({picture})\n"]
    parts += [f"- {each}" for each in first_few((*readiness.notes, *readiness.trends.unread))]
    return "\n".join(parts)


def measure_row(measure: Measure) -> tuple[object, ...]:
    """One promise: name, allowed, measured, whether it holds, of what."""
    return (
        measure.name,
        age(measure.allowed_seconds),
        age(measure.measured_seconds),
        _HOLDS[measure.outcome],
        measure.of,
    )


COPY_COLUMNS = (
    *("copy", "backups", "recoverable from", "to, proven", "lost if disaster now"),
    *("restore takes about", "stored", "grows by"),
)


def copy_rows(readiness: Readiness) -> Iterator[tuple[object, ...]]:
    """One row for each copy; what is not known says so."""
    for each in readiness.copies:
        growth = "not known" if each.bytes_a_day is None else f"{size(each.bytes_a_day)} a day"
        stored = "not known" if each.stored_bytes is None else size(each.stored_bytes)
        yield (
            each.copy,
            each.problem or each.backups,
            moment(each.begins_at),
            moment(each.recoverable_to) if each.recoverable_to else "not known",
            age(each.loss_seconds),
            age(each.restore_seconds),
            stored,
            growth,
        )


def shown_rows(readiness: Readiness) -> Iterator[tuple[object, ...]]:
    """Coverage, the last drill and the last round of negative controls."""
    coverage, at = readiness.coverage, moment(readiness.coverage_at)
    for name, part in (
        ("retained backups with a fresh proof", coverage.backups if coverage else None),
        ("retained logical dumps with a fresh proof", coverage.dumps if coverage else None),
        ("recoverable window of the worst copy, proven", coverage.window if coverage else None),
        ("copies with a fresh proof", coverage.copies if coverage else None),
    ):
        yield name, at, percent(part, report=coverage is not None)
    yield ("last recovery drill", *_exercise(readiness.drill))
    yield ("last negative controls", *_exercise(readiness.controls))


def percent(part: float | None, *, report: bool = True) -> str:
    """A share for people; ``report``: whether there is a report that could have told it."""
    if part is None:
        return "nothing to count" if report else "not known: no integrity report of late"
    return f"{100 * part:.0f} %"


def _exercise(done: Exercise | None) -> tuple[str, str]:
    if done is None:
        return "-", "none that can be read"
    result = "passed" if done.passed else "**NOT passed**"
    return moment(done.at), f"{result}, from {done.copy}: {done.seen} ({done.id})"


def _lacking(readiness: Readiness) -> list[str]:
    lacking = readiness.lacking
    if not lacking:
        return []
    rows = [(each.subject, _HOLDS[each.outcome], each.seen) for each in lacking[:_MOST_LINES]]
    more = len(lacking) - len(rows)
    rows += [(f"and {more} more", "", "`kb-dr status` shows all")] if more else []
    return ["## What does not hold", _table(("what", "holds", "seen"), rows)]


def _alerts(readiness: Readiness) -> str:
    if readiness.alerts is None:
        return f"**Not known: {readiness.alerts_problem or 'nobody keeps any'}.**\n"
    lines = [
        f"{each.severity}: {each.title}, since {moment(each.opened_at)}"
        + (", acknowledged" if each.acknowledged else "")
        for each in readiness.alerts
    ]
    return _list(first_few(lines, _MOST_LINES), "None.")


def _days(readiness: Readiness) -> str:
    trends = readiness.trends
    return f"{(trends.until - trends.since).days}"


def _list(lines: Iterable[str], none: str) -> str:
    return ("\n".join(f"- {each}" for each in lines) or none) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = [" | ".join(_cell(value) for value in row) for row in rows]
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *body]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
