"""What is said of an alert, in no channel's own language."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_kinds import KINDS, AlertKind
from kb_dr.domain.copies import OFFSITE, PRIMARY
from kb_dr.domain.delivery import Delivery
from kb_dr.domain.message import Message, What
from kb_dr.domain.notice import Notice
from kb_dr.domain.severity import Severity
from kb_dr.domain.wording import age

LINES = 40
"""Of a group of many: what does not fit goes into a further message."""
WARNINGS = 10
"""So many of a group's warnings are named; critical ones all are."""
_LINE = 160
_COPIES = (PRIMARY, OFFSITE, "local")

NOBODY_KNOWS = "Nobody can tell whether "
"""Titles of what is not known to be broken begin so."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where a message leads to."""

    service: str
    pages_url: str = ""
    """Dagster's pages, without a slash at the end; empty: no link to a run."""
    documents_url: str = ""
    """Where docs/ is shown; empty: the path of the document is given."""

    def runbook(self, kind: str) -> str:
        """The section on this kind."""
        return f"{self.documents_url or 'docs'}/monitoring.md#{kind}"

    def run(self, run_id: str) -> str:
        """The page of a run; empty when it has none."""
        return f"{self.pages_url}/runs/{run_id}" if self.pages_url and run_id else ""


def describe(notice: Notice) -> tuple[str, str, str]:
    """Title, meaning and first move of what a notice tells of."""
    known = KINDS.get(notice.kind)
    if known is None:
        # A kind nobody has described is no reason to keep quiet.
        known = AlertKind(notice.kind, notice.severity, notice.kind.replace("_", " "), "", "")
    subject = _subject(notice)
    broken, means = known.broken, known.means
    if notice.unsure:
        broken, means = f"{NOBODY_KNOWS}{_sentence(notice.kind)}", _UNSURE
    title = f"{broken}: {subject}" if subject else broken
    return title, means, notice.do or known.first_move


def _subject(notice: Notice) -> str:
    family, _, rest = notice.key.partition("/")
    if family in ("run", "schedule", "sensor", "channel"):
        return rest
    last = rest.rpartition("/")[2]
    if family == "check" and last not in ("", notice.kind):
        return last  # its partition, or the check that crashed
    return ", ".join(dict.fromkeys(filter(None, map(_short, notice.subjects))))


def _short(subject: str) -> str:
    """What of a check's part belongs into a title, which says the rest: the copy, or what a path
    is of; nothing of a part that every such check has."""
    words = subject.split()
    named = [copy for copy in _COPIES if copy in words]
    if named:
        return named[0]
    return words[0] if len(words) > 1 and words[1].startswith("(") else ""


def _sentence(check: str) -> str:
    """A check's name as the sentence it is."""
    words = {"wal": "WAL", "rpo": "RPO"}
    return " ".join(words.get(each, each) for each in check.split("_"))


_UNSURE = "It may be well or broken: until somebody can look, take it for broken."


def render(alert: Alert, what: What, at: datetime, number: int, links: Links) -> Message:
    """One message about an alert; ``number`` tells it from the others of the same alert."""
    lasted = alert.lasted_seconds
    if alert.open:
        lasted = max(0.0, (at - alert.opened_at).total_seconds())
    over = what in (What.RECOVERED, What.TOLD)
    happened, title = alert.seen, alert.title
    if what is What.RECOVERED:
        title = title.removeprefix(NOBODY_KNOWS)
        how = f"closed by {alert.closed_by}" if alert.closed_by else "back to normal"
        happened = f"{how} after {age(lasted)}" + (f": {alert.seen}" if alert.seen else "")
    elif what is What.ACKNOWLEDGED:
        happened = f"acknowledged by {alert.acknowledged_by}" + (
            f": {alert.note}" if alert.note else ""
        )
    digest = alert.kind == "weekly_digest"
    return Message(
        id=f"{alert.id}-{number}-{what}",
        dedup_key=alert.key,
        what=what,
        kind=alert.kind,
        severity=alert.severity,
        service=links.service,
        title=title,
        happened=happened,
        means="" if over else alert.means,
        do="" if over else alert.do,
        at=at,
        alert_id="" if alert.is_told_once else alert.id,
        opened_at=None if alert.is_told_once else alert.opened_at,
        lasted_seconds=None if alert.is_told_once else lasted,
        seen_well=not alert.closed_by,
        runbook_url=links.runbook(alert.kind),
        run_url=links.run(alert.run_id),
        # Those of one that is over are what was seen while it was broken.
        facts=() if digest or what is What.RECOVERED else alert.facts,
        lines=tuple(f"{label}: {value}" for label, value in alert.facts) if digest else (),
    )


def reduced(message: Message) -> Message:
    """The plain rest of a message that was refused: nothing that can be taken amiss."""
    return replace(
        message,
        title=_plain(message.title, 150),
        happened=_plain(message.happened, 1000),
        means=_plain(message.means, 300),
        do=_plain(message.do, 300),
        runbook_url="",
        run_url="",
        facts=(),
        # All of them: which alerts are critical is what a group is for.
        lines=tuple(_plain(each, 80) for each in message.lines),
    )


def _plain(text: str, most: int) -> str:
    printable = "".join(each if each.isprintable() else " " for each in text)
    return printable.encode("ascii", "replace").decode()[:most]


def group(waiting: Sequence[Delivery], at: datetime, links: Links, number: str) -> list[Message]:
    """Few messages that say what many would have: every critical alert by its title, the first
    of the warnings, and how many there are of each."""
    last: dict[str, Delivery] = {}
    for each in waiting:
        last[each.alert_id or each.id] = each
    worst = sorted(last.values(), key=lambda each: -each.message.severity.rank)
    critical = [each for each in worst if each.message.severity is Severity.CRITICAL]
    rest = [each for each in worst if each.message.severity is not Severity.CRITICAL]
    lines = [_line(each.message) for each in critical]
    lines += [_line(each.message) for each in rest[:WARNINGS]]
    if len(rest) > WARNINGS:
        lines.append(f"and {len(rest) - WARNINGS} more that are not critical")
    over = sum(each.what is What.RECOVERED for each in last.values())
    seen = f"{len(critical)} critical, {len(rest)} others; {over} of them are over"
    kind = KINDS["many_at_once"]
    pages = [lines[start : start + LINES] for start in range(0, len(lines), LINES)]
    return [
        Message(
            id=f"group-{number}-{page}",
            dedup_key=f"group/{number}",
            what=What.GROUPED,
            kind=kind.name,
            severity=worst[0].message.severity,
            service=links.service,
            title=f"{len(last)} alerts at once"
            + (f" ({page} of {len(pages)})" if len(pages) > 1 else ""),
            happened=seen,
            means=kind.means,
            do=kind.first_move,
            at=at,
            runbook_url=links.runbook(kind.name),
            lines=tuple(some),
        )
        for page, some in enumerate(pages, 1)
    ]


def _line(message: Message) -> str:
    text = f"{message.severity}: {message.title}"
    if message.what is What.RECOVERED:
        return f"{text} ({message.happened})"[:_LINE]
    return text if len(text) >= _LINE else f"{text}: {message.happened}"[:_LINE]
