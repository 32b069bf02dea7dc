"""What a message says, in words every channel uses."""

from kb_dr.domain.message import Message, What
from kb_dr.domain.severity import Severity
from kb_dr.domain.wording import age, moment

_LIGHTS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}

_BEGINNINGS = {
    What.WORSE: "worse: ",
    What.ESCALATED: "still broken: ",
    What.REMINDER: "reminder: ",
    What.ACKNOWLEDGED: "acknowledged: ",
    What.RECOVERED: "back to normal: ",
}
_CLOSED = "closed, not seen to be well: "


def light(message: Message) -> str:
    """One character that says how bad it is; green once it was seen to be well."""
    if message.what is What.RECOVERED:
        return "🟢" if message.seen_well else "⚪"
    return "👀" if message.what is What.ACKNOWLEDGED else _LIGHTS[message.severity]


def headline(message: Message) -> str:
    """One line: how bad, why it is said, of which service, what."""
    loud = message.what not in (What.RECOVERED, What.ACKNOWLEDGED, What.TOLD)
    severity = f"{message.severity.upper()} " if loud else ""
    beginning = _BEGINNINGS.get(message.what, "")
    if message.what is What.RECOVERED and not message.seen_well:
        beginning = _CLOSED
    return clean(f"{severity}{message.service}: {beginning}{message.title}").replace("\n", " ")


def times(message: Message) -> tuple[str, ...]:
    """Since when, for how long, and when what is told was seen."""
    at, opened_at, lasted = message.at, message.opened_at, message.lasted_seconds
    if opened_at is None:
        return (f"at {moment(at)}",)
    if at == opened_at and not lasted:
        return (f"since {moment(opened_at)}",)
    if message.what is What.RECOVERED:
        return (f"from {moment(opened_at)} to {moment(at)}", f"for {age(lasted)}")
    return (f"since {moment(opened_at)}", f"for {age(lasted)}", f"told at {moment(at)}")


def links(message: Message) -> tuple[tuple[str, str], ...]:
    """Label and address (or path) of where it is explained and where it was seen."""
    named = (("Runbook", message.runbook_url), ("Run", message.run_url))
    return tuple((label, clean(place)) for label, place in named if place)


def acknowledge(message: Message) -> str:
    """The command that stops it from getting louder; empty when it does not."""
    over = message.what in (What.RECOVERED, What.ACKNOWLEDGED, What.TOLD)
    return "" if over or not message.alert_id else f"kb-dr alerts ack {message.alert_id}"


def sections(message: Message) -> tuple[tuple[str, str], ...]:
    """Title and text of what is said, in order, without what is empty."""
    named = (
        ("What happened", message.happened),
        ("What it means", message.means),
        ("What to do", message.do),
    )
    return tuple((title, clean(text)) for title, text in named if clean(text))


def plain(message: Message) -> str:
    """All of it as plain text."""
    parts = [headline(message)]
    parts += [f"{title}\n{text}" for title, text in sections(message)]
    if message.lines:
        parts.append("\n".join(f"- {clean(line)}" for line in message.lines))
    if message.facts:
        parts.append("\n".join(f"{clean(name)}: {clean(value)}" for name, value in message.facts))
    if found := links(message):
        parts.append("\n".join(f"{label}: {place}" for label, place in found))
    end = [", ".join(times(message))]
    if command := acknowledge(message):
        end.append(f"Acknowledge it: {command}")
    if message.alert_id:
        end.append(f"Alert {message.alert_id}")
    return "\n\n".join([*parts, "\n".join(end)]) + "\n"


def clean(text: str) -> str:
    """Without what no channel shows, or takes: control characters, halves of characters, and the
    rarer ends of a line, which the header of a mail must not hold either."""
    whole = text.encode("utf-8", "replace").decode()
    for end in ("\r\n", "\x85", "\u2028", "\u2029"):
        whole = whole.replace(end, "\n")
    return "".join(each for each in whole if each in "\n\t" or ord(each) >= 32).strip()
