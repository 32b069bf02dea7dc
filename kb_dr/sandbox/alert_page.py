"""The page on which an operator of the sandbox reads what arrived, newest first."""

import email
import email.policy
import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kb_dr.sandbox.arrivals import Arrival
from kb_dr.sandbox.emoji import with_emoji
from kb_dr.sandbox.slack_blocks import render_message

_NAMES = {"slack": "Slack", "mail": "Mail", "pagerduty": "PagerDuty", "webhook": "Webhook"}
_SECONDS = 10

_STYLE = """
body{font:15px/1.46 Lato,Helvetica,Arial,sans-serif;margin:0;background:#f4f4f6;color:#1d1c1d}
main{max-width:860px;margin:0 auto;padding:16px}
h1{font-size:20px;margin:8px 0}nav a{margin-right:14px}nav{margin-bottom:14px}
article{background:#fff;border:1px solid #dcdce0;border-radius:8px;padding:14px 18px;
margin-bottom:14px}
.sink{font-size:12px;font-weight:700;color:#fff;border-radius:4px;padding:1px 7px}
.slack{background:#4a154b}.mail{background:#1264a3}.pagerduty{background:#06813c}
.webhook{background:#616061}.refused{color:#e01e5a;font-weight:700}
.meta{color:#616061;font-size:12px;margin-bottom:8px}
.who{display:flex;align-items:center;gap:8px;margin-bottom:2px}.who b{font-size:15px}
.icon{width:36px;height:36px;border-radius:6px;background:#0b4f6c;color:#fff;font-weight:700;
display:flex;align-items:center;justify-content:center;font-size:13px}
.app{font-size:10px;font-weight:700;color:#616061;background:#e8e8e8;border-radius:2px;
padding:1px 3px}
.message{margin-left:44px}
h2.header{font-size:18px;line-height:1.33;font-weight:900;margin:6px 0}
.section{margin:6px 0;overflow-wrap:anywhere}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:8px 16px;margin-top:6px}
.context{color:#616061;font-size:13px;margin:6px 0}
hr{border:0;border-top:1px solid #dcdce0;margin:12px 0}
.actions{display:flex;gap:8px;margin:8px 0;flex-wrap:wrap}
.button{display:inline-block;border:1px solid #bbbabb;border-radius:4px;padding:4px 12px;
font-weight:700;font-size:13px;color:#1d1c1d;text-decoration:none;background:#fff}
.button.primary{background:#007a5a;border-color:#007a5a;color:#fff}
.button.danger{background:#e01e5a;border-color:#e01e5a;color:#fff}
.accessory{float:right;margin-left:12px}
.attachment{border-left:4px solid;border-radius:4px;padding:2px 0 2px 12px;margin:6px 0}
code{background:#f7f7f9;border:1px solid #dcdce0;border-radius:3px;color:#e01e5a;
font-size:12px;padding:1px 3px}
pre{background:#f7f7f9;border:1px solid #dcdce0;border-radius:4px;padding:8px;font-size:12px;
white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0}
blockquote{border-left:4px solid #dcdce0;margin:2px 0;padding-left:10px}
.emoji{width:1.15em;height:1.15em;vertical-align:-0.2em}
a{color:#1264a3}.mention{background:#e8f5fa;color:#1264a3;border-radius:3px;padding:0 2px}
table{border-collapse:collapse;font-size:13px}td,th{padding:2px 12px 2px 0;text-align:left;
vertical-align:top;overflow-wrap:anywhere}th{color:#616061;font-weight:400;white-space:nowrap}
iframe{width:100%;height:300px;border:1px solid #dcdce0;border-radius:4px}
"""


def render_page(arrivals: Sequence[Arrival], *, only: str = "") -> str:
    """The whole page; ``only``: what arrived at one sink. It looks again by itself."""
    counts = Counter(each.sink for each in arrivals)
    shown = [each for each in arrivals if not only or each.sink == only]
    links = [f'<a href="/">all {len(arrivals)}</a>']
    links += [f'<a href="/?sink={sink}">{_NAMES[sink]} {counts[sink]}</a>' for sink in _NAMES]
    body = "\n".join(_article(each) for each in shown) or "<p>Nothing has arrived yet.</p>"
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=refresh content="{_SECONDS}"><title>Alerts of the sandbox</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>Alerts of the sandbox</h1>"
        f"<nav>{''.join(links)}</nav>{body}</main></body></html>"
    )


def _article(arrival: Arrival) -> str:
    content = arrival.content
    inside = {
        "slack": _slack,
        "mail": _mail,
        "pagerduty": _pagerduty,
    }.get(arrival.sink, _json)(content)
    at = arrival.at.replace("T", " ").split(".")[0]
    refused = (
        f' <span class="refused">refused: {html.escape(arrival.refused)}</span>'
        if arrival.refused
        else ""
    )
    name = _NAMES.get(arrival.sink, arrival.sink)
    return (
        f'<article data-sink="{html.escape(arrival.sink)}"><div class="meta">'
        f'<span class="sink {html.escape(arrival.sink)}">{html.escape(name)}</span> '
        f"{html.escape(at)} UTC{refused}</div>{inside}</article>"
    )


def _slack(content: Mapping[str, Any]) -> str:
    name = html.escape(str(content.get("username") or "kb_dr"))
    return (
        f'<div class="who"><span class="icon">{name[:2]}</span><b>{name}</b>'
        f'<span class="app">APP</span></div><div class="message">{render_message(content)}</div>'
    )


def _mail(content: Mapping[str, Any]) -> str:
    message = email.message_from_string(
        str(content.get("message", "")), policy=email.policy.default
    )
    rows = [(name, str(message.get(name, ""))) for name in ("Subject", "From", "To")]
    found = message.get_body(("plain", "html"))
    text = found.get_content() if found is not None else ""
    shown = f"<pre>{html.escape(text)}</pre>"
    rich = message.get_body(("html",))
    if rich is not None:
        # Nothing in it runs, and nothing leaves: what a mail holds is its sender's.
        shown = f'<iframe sandbox srcdoc="{html.escape(rich.get_content())}"></iframe>'
    return _table(rows) + shown


def _pagerduty(content: Mapping[str, Any]) -> str:
    payload = content.get("payload")
    event = payload if isinstance(payload, Mapping) else {}
    rows = [
        ("action", content.get("event_action")),
        ("dedup key", content.get("dedup_key")),
        ("summary", event.get("summary")),
        ("severity", event.get("severity")),
        ("source", event.get("source")),
        ("details", event.get("custom_details")),
        ("links", content.get("links")),
    ]
    return _table([(name, value) for name, value in rows if value])


def _json(content: Mapping[str, Any]) -> str:
    return f"<pre>{html.escape(json.dumps(content, indent=2, ensure_ascii=False))}</pre>"


def _table(rows: Sequence[tuple[str, object]]) -> str:
    def shown(value: object) -> str:
        if isinstance(value, str):
            return with_emoji(html.escape(value))
        return f"<pre>{html.escape(json.dumps(value, indent=1, ensure_ascii=False))}</pre>"

    lines = "".join(f"<tr><th>{html.escape(name)}</th><td>{shown(v)}</td></tr>" for name, v in rows)
    return f"<table>{lines}</table>"
