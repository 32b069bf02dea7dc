"""A Slack message as Slack shows it: Block Kit as HTML, and the limits Slack holds it to.

After the reference of Block Kit; blocks that kb_dr never sends are shown by their type alone.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kb_dr.sandbox.slack_mrkdwn import render_mrkdwn, render_plain

Block = Mapping[str, Any]

_COLOURS = {"good": "#2eb67d", "warning": "#ecb22e", "danger": "#e01e5a"}
_MOST = {"blocks": 50, "fields": 10, "context": 10, "actions": 25}
_LONGEST = {"header": 150, "section": 3000, "field": 2000, "button": 75}


def render_message(message: Mapping[str, Any]) -> str:
    """The whole message as HTML: its blocks, or else its text; then each attachment."""
    blocks = _sequence(message.get("blocks"))
    parts = [_block(each) for each in blocks]
    if not blocks and message.get("text"):
        parts.append(f'<div class="section">{render_mrkdwn(str(message["text"]))}</div>')
    parts += [_attachment(each) for each in _sequence(message.get("attachments"))]
    return "\n".join(parts)


def why_refused(message: Mapping[str, Any]) -> str:
    """The word Slack would refuse this message with; empty when it takes it."""
    attachments = _sequence(message.get("attachments"))
    every = [_sequence(message.get("blocks"))]
    every += [_sequence(each.get("blocks")) for each in attachments]
    if not message.get("text") and not attachments and not any(every):
        return "no_text"
    if any(len(blocks) > _MOST["blocks"] for blocks in every):
        return "invalid_blocks"
    if any(problem for blocks in every for each in blocks for problem in _problems(each)):
        return "invalid_blocks"
    return ""


def _problems(block: Block) -> Iterator[str]:
    kind = block.get("type")
    if kind == "header":
        yield from _too_long(block.get("text"), "header")
        if _mapping(block.get("text")).get("type") != "plain_text":
            yield "a header is plain text"
    elif kind == "section":
        fields = _sequence(block.get("fields"))
        if not block.get("text") and not fields:
            yield "a section without text"
        if block.get("text"):
            yield from _too_long(block.get("text"), "section")
        if len(fields) > _MOST["fields"]:
            yield "too many fields"
        for each in fields:
            yield from _too_long(each, "field")
    elif kind in ("context", "actions"):
        elements = _sequence(block.get("elements"))
        if not 0 < len(elements) <= _MOST[kind]:
            yield f"so many elements: {len(elements)}"
        for each in elements:
            if each.get("type") == "button":
                yield from _too_long(each.get("text"), "button")
    elif kind not in ("divider", "image", "rich_text"):
        yield f"no block: {kind}"


def _too_long(text: object, what: str) -> Iterator[str]:
    length = len(str(_mapping(text).get("text", "")))
    if not 0 < length <= _LONGEST[what]:
        yield f"{what}: {length} characters"


def _block(block: Block) -> str:
    kind = str(block.get("type", ""))
    if kind == "header":
        return f'<h2 class="header">{_text(block.get("text"))}</h2>'
    if kind == "section":
        return _section(block)
    if kind == "context":
        inside = " ".join(_element(each) for each in _sequence(block.get("elements")))
        return f'<div class="context">{inside}</div>'
    if kind == "divider":
        return "<hr>"
    if kind == "actions":
        inside = " ".join(_element(each) for each in _sequence(block.get("elements")))
        return f'<div class="actions">{inside}</div>'
    return f'<div class="context">[{html.escape(kind)}]</div>'


def _section(block: Block) -> str:
    parts = []
    if block.get("accessory"):
        parts.append(f'<div class="accessory">{_element(_mapping(block["accessory"]))}</div>')
    if block.get("text"):
        parts.append(f"<div>{_text(block['text'])}</div>")
    fields = _sequence(block.get("fields"))
    if fields:
        cells = "".join(f'<div class="field">{_text(each)}</div>' for each in fields)
        parts.append(f'<div class="fields">{cells}</div>')
    return f'<div class="section">{"".join(parts)}</div>'


def _element(element: Block) -> str:
    if element.get("type") == "button":
        style = html.escape(str(element.get("style", "")))
        label, url = _text(element.get("text")), str(element.get("url", ""))
        if url.startswith(("http://", "https://")):
            address = html.escape(url)
            return f'<a class="button {style}" href="{address}" rel="noreferrer">{label}</a>'
        return f'<span class="button {style}">{label}</span>'
    if element.get("type") == "image":
        return (
            f'<span class="mention">[{html.escape(str(element.get("alt_text", "image")))}]</span>'
        )
    return f"<span>{_text(element)}</span>"


def _attachment(attachment: Block) -> str:
    colour = str(attachment.get("color", "#dddddd"))
    colour = _COLOURS.get(colour, colour)
    if not colour.startswith("#") or not colour[1:].isalnum():
        colour = "#dddddd"
    parts = [_block(each) for each in _sequence(attachment.get("blocks"))]
    if not parts:
        parts = [*_classic(attachment)]
    return f'<div class="attachment" style="border-color:{colour}">{"".join(parts)}</div>'


def _classic(attachment: Block) -> Iterator[str]:
    """An attachment of before there were blocks."""
    if attachment.get("title"):
        yield f'<div class="section"><b>{render_plain(str(attachment["title"]))}</b></div>'
    text = attachment.get("text") or attachment.get("fallback")
    if text:
        yield f'<div class="section">{render_mrkdwn(str(text))}</div>'
    cells = "".join(
        f'<div class="field"><b>{render_plain(str(each.get("title", "")))}</b><br>'
        f"{render_mrkdwn(str(each.get('value', '')))}</div>"
        for each in _sequence(attachment.get("fields"))
    )
    if cells:
        yield f'<div class="fields">{cells}</div>'
    if attachment.get("footer"):
        yield f'<div class="context">{render_plain(str(attachment["footer"]))}</div>'


def _text(text: object) -> str:
    found = _mapping(text)
    words = str(found.get("text", ""))
    return render_plain(words) if found.get("type") == "plain_text" else render_mrkdwn(words)


def _mapping(value: object) -> Block:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Block]:
    """What is no list of objects shows nothing: anybody may send anything here."""
    if not isinstance(value, list):
        return ()
    return [each for each in value if isinstance(each, Mapping)]
