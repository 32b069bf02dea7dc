"""A message as Slack's blocks: read at a glance, and always within Slack's limits.

Source: docs.slack.dev, Block Kit reference. What is beyond a limit makes Slack refuse the whole
message, so everything is cut to fit; lengths are counted as JavaScript counts them.
"""

from typing import Any

from kb_dr.adapters.channels.texts import (
    acknowledge,
    clean,
    headline,
    light,
    links,
    sections,
    times,
)
from kb_dr.domain.message import Message, What
from kb_dr.domain.wording import age

Block = dict[str, Any]

HEADER = 150
TEXT = 3000
FIELD = 2000
FIELDS = 10
BLOCKS = 50

_LINES = 30
"""Blocks for the lines of a group or digest; the rest of BLOCKS is enough for everything else."""
_ADDRESS = 1000


def blocks(message: Message) -> list[Block]:
    """At least one block, at most BLOCKS."""
    found: list[Block] = [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": cut(f"{light(message)} {headline(message)}", HEADER),
                "emoji": True,
            },
        }
    ]
    if message.what is What.ESCALATED:
        lasted = f" for {age(message.lasted_seconds)}" if message.lasted_seconds else ""
        found.append(_section(f"<!channel> It is broken{lasted}, and nobody has acknowledged it."))
    for title, text in sections(message):
        found.append(_section(f"*{title}*\n{escaped(text, TEXT - len(title) - 3)}"))
    found += _lines(message)
    found += _facts(message)
    if shown := [_link(label, place) for label, place in links(message)]:
        # Links, not buttons: a button of a webhook shows a warning when it is pressed.
        found.append(_section("  ·  ".join(shown)))
    end = [*times(message)]
    if message.alert_id:
        end.append(f"alert {escaped(clean(message.alert_id), 200)}")
    if command := acknowledge(message):
        end.append(f"`{escaped(clean(command), 300)}`")
    found.append({"type": "context", "elements": [_markdown("  ·  ".join(end))]})
    return found


def notification(message: Message) -> str:
    """What a telephone shows before the message is opened."""
    said = f"{light(message)} {headline(message)}"
    return escaped(f"{said}: {clean(message.happened)}" if message.happened else said, 1000)


def escaped(text: str, most: int) -> str:
    """Shown as it is, nothing in it a link or a mention; cut so that the escaped text fits."""
    whole = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if _units(whole) <= most:
        return whole
    kept: list[str] = []
    left = most - 1
    for each in text:
        written = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(each, each)
        left -= _units(written)
        if left < 0:
            break
        kept.append(written)
    return "".join(kept) + "…"


def cut(text: str, most: int) -> str:
    """At most so long, with a sign that it is not all."""
    if _units(text) <= most:
        return text
    kept = text[: most - 1]
    while _units(kept) > most - 1:
        kept = kept[:-1]
    return kept + "…"


def _units(text: str) -> int:
    return len(text) + sum(ord(each) > 0xFFFF for each in text)


def _lines(message: Message) -> list[Block]:
    """A list, the worst first, in as few blocks as hold it."""
    texts: list[str] = []
    for number, line in enumerate(message.lines):
        row = f"• {escaped(clean(line), 500)}"
        if texts and _units(texts[-1]) + 1 + _units(row) <= TEXT:
            texts[-1] += f"\n{row}"
        elif len(texts) < _LINES:
            texts.append(row)
        else:
            left = len(message.lines) - number
            return [*map(_section, texts), _section(f"… and {left} more: `kb-dr alerts list`")]
    return [_section(each) for each in texts]


def _facts(message: Message) -> list[Block]:
    shown = message.facts[:FIELDS]
    if not shown:
        return []
    fields = [
        _markdown(f"*{escaped(clean(label), 100)}*\n{escaped(clean(value), FIELD - 200)}")
        for label, value in shown
    ]
    return [{"type": "section", "fields": fields}]


def _link(label: str, place: str) -> str:
    address = place.replace("|", "%7C").replace(" ", "%20")
    if place.startswith(("https://", "http://")) and _units(address) <= _ADDRESS:
        return f"<{escaped(address, 3 * _ADDRESS)}|{label}>"
    return f"{label}: `{escaped(place, _ADDRESS)}`"


def _section(text: str) -> Block:
    return {"type": "section", "text": _markdown(text)}


def _markdown(text: str) -> Block:
    # Verbatim: else Slack makes mentions and links of plain words.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
