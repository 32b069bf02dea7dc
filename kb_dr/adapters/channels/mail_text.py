"""A message as a mail."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

from kb_dr.adapters.channels.texts import (
    acknowledge,
    clean,
    headline,
    light,
    links,
    plain,
    sections,
    times,
)
from kb_dr.domain.message import Message, What
from kb_dr.domain.severity import Severity

_COLOURS = {Severity.CRITICAL: "#b00020", Severity.WARNING: "#b36b00", Severity.INFO: "#1a5fb4"}
_GREEN = "#1e7b34"
_LONGEST_SUBJECT = 200


def composed(message: Message, sender: str, to: Sequence[str], now: datetime) -> EmailMessage:
    """The same message has the same Message-ID whenever it is composed; all of one alert refer
    to one that is never sent, and so form one thread."""
    domain = sender.rpartition("@")[2]
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Subject"] = f"{light(message)} {headline(message)}"[:_LONGEST_SUBJECT]
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{_digest(f'{message.service}/{message.id}')}@{domain}>"
    thread = message.alert_id or message.dedup_key
    root = f"<{_digest(f'thread/{message.service}/{thread}')}@{domain}>"
    mail["In-Reply-To"] = root
    mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is answered to us
    if message.severity is Severity.CRITICAL and message.what is not What.RECOVERED:
        mail["Importance"] = "high"
    mail.set_content(plain(message))
    mail.add_alternative(_page(message), subtype="html")
    return mail


def _page(message: Message) -> str:
    over = message.what is What.RECOVERED and message.seen_well
    colour = _GREEN if over else _COLOURS[message.severity]
    parts = [
        f'<h2 style="color:{colour}">{escape(light(message))} {escape(headline(message))}</h2>'
    ]
    parts += [f"<p><b>{title}</b><br>{_lines(text)}</p>" for title, text in sections(message)]
    if message.lines:
        rows = "".join(f"<li>{escape(clean(line))}</li>" for line in message.lines)
        parts.append(f"<ul>{rows}</ul>")
    if message.facts:
        rows = "".join(
            f"<tr><td><b>{escape(clean(label))}</b></td><td>{_lines(clean(value))}</td></tr>"
            for label, value in message.facts
        )
        parts.append(f"<table>{rows}</table>")
    if found := links(message):
        parts.append("<p>" + " · ".join(_link(label, place) for label, place in found) + "</p>")
    end = " · ".join(times(message))
    if message.alert_id:
        end += f" · alert {escape(clean(message.alert_id))}"
    if command := acknowledge(message):
        end += f" · <code>{escape(clean(command))}</code>"
    parts.append(f'<p style="color:#666">{end}</p>')
    return f"<html><body>{''.join(parts)}</body></html>"


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _link(label: str, place: str) -> str:
    if place.startswith(("https://", "http://")):
        return f'<a href="{escape(place, quote=True)}">{label}</a>'
    return f"{label}: {escape(place)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
