"""Slack's mrkdwn as HTML: bold, italics, strikes, code, quotes, links, dates and a few emoji.

After "Formatting text for app surfaces" of Slack's documentation. Whatever is written stays text:
nothing but these marks becomes HTML, and a link leads to http, https or mailto alone.
"""

import html
import re
from datetime import UTC, datetime

from kb_dr.sandbox.emoji import with_emoji

_PIECES = re.compile(r"```(.+?)```|`([^`\n]+)`|<([^<>\n]+)>", re.DOTALL)
_MARKS = (("*", "b"), ("_", "i"), ("~", "s"))
_BEGIN, _END = "\ue000", "\ue001"
"""Around the number of a piece that is finished: characters nobody else uses."""


def render_mrkdwn(text: str) -> str:
    """One text as HTML."""
    kept: list[str] = []

    def keep(piece: re.Match[str]) -> str:
        """Marks go around links and code, and never into them."""
        block, code, angled = piece.groups()
        if block is not None:
            kept.append(f"<pre>{_escape(block.strip(chr(10)))}</pre>")
        elif code is not None:
            kept.append(f"<code>{_escape(code)}</code>")
        else:
            kept.append(_angled(angled))
        return f"{_BEGIN}{len(kept) - 1}{_END}"

    text = text.replace(_BEGIN, "").replace(_END, "")
    whole = _plain(_PIECES.sub(keep, text))
    for mark, tag in _MARKS:
        sign = re.escape(mark)
        inside = rf"(?=\S)([^\n{sign}]+)(?<=\S)"
        around = rf"(?<![\w{sign}]){sign}{inside}{sign}(?![\w{sign}])"
        whole = re.sub(around, rf"<{tag}>\1</{tag}>", whole)
    return re.sub(f"{_BEGIN}(\\d+){_END}", lambda each: kept[int(each[1])], _quotes(whole))


def render_plain(text: str) -> str:
    """Text of type plain_text: no marks, emoji all the same."""
    return with_emoji(_escape(text)).replace("\n", "<br>")


def _plain(text: str) -> str:
    return with_emoji(_escape(text))


def _angled(inside: str) -> str:
    """What stands between < and >: a link, a date, a mention."""
    target, _, label = inside.partition("|")
    if target.startswith("!date^"):
        return _date(target, label)
    if target.startswith(("!", "@", "#")):
        return f'<span class="mention">{_escape(label or "@" + target.lstrip("!@#"))}</span>'
    address = html.unescape(target)
    if not address.startswith(("http://", "https://", "mailto:")):
        return _escape(f"<{inside}>")
    shown = _plain(label) if label else _escape(target)
    return f'<a href="{html.escape(address)}" rel="noreferrer">{shown}</a>'


def _date(target: str, fallback: str) -> str:
    _, seconds, *_ = [*target.split("^"), "", ""]
    if not seconds.isdigit():
        return _escape(fallback)
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M:%S} UTC"


def _escape(text: str) -> str:
    """Senders write &, < and > as entities, so those are read first."""
    return html.escape(html.unescape(text), quote=False)


def _quotes(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        if line.startswith("&gt;"):
            lines.append(f"<blockquote>{line.removeprefix('&gt;').lstrip()}</blockquote>")
        else:
            lines.append(f"{line}<br>")
    return "".join(lines).removesuffix("<br>")
