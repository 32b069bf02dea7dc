"""The sandbox's alert sinks take what the real ones take, and show it as those would."""

import json
import re
import smtplib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from kb_dr.sandbox.alert_page import render_page
from kb_dr.sandbox.alert_part import alert_settings
from kb_dr.sandbox.alert_sink import web_server
from kb_dr.sandbox.arrivals import Arrival, Arrivals
from kb_dr.sandbox.mail_server import mail_server
from kb_dr.sandbox.places import Secrets, State
from kb_dr.sandbox.slack_blocks import render_message, why_refused
from kb_dr.sandbox.slack_mrkdwn import render_mrkdwn, render_plain
from kb_dr.settings import load_settings

MESSAGE: dict[str, Any] = {
    "text": "RPO is broken",
    "attachments": [
        {
            "color": "#d00000",
            "blocks": [
                {"type": "header",
                 "text": {"type": "plain_text", "text": ":rotating_light: More is lost"}},
                {"type": "section",
                 "text": {"type": "mrkdwn", "text": "*What it means*\nrun `kb-dr status`"},
                 "fields": [{"type": "mrkdwn", "text": "*Severity*\ncritical"}]},
                {"type": "divider"},
                {"type": "actions", "elements": [
                    {"type": "button", "text": {"type": "plain_text", "text": "Runbook"},
                     "url": "https://docs.example/rpo", "style": "danger"}]},
                {"type": "context", "elements": [
                    {"type": "mrkdwn", "text": "kb · <https://x.example/runs/1|run>"}]},
            ],
        }
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Sinks:
    """Where they listen, and what they keep."""

    url: str
    mail_port: int
    arrivals: Arrivals

    def post(self, path: str, body: object) -> tuple[int, str]:
        """Status and answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def page(self, path: str = "/") -> str:
        """As a browser gets it."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[Sinks]:
    arrivals = Arrivals(tmp_path / "alerts.jsonl")

    def received(sender: str, recipients: tuple[str, ...], message: bytes) -> None:
        arrivals.add("mail", {"from": sender, "to": list(recipients), "message": message.decode()})

    with ExitStack() as stack:
        mail = stack.enter_context(mail_server(0, received))
        web = stack.enter_context(web_server(0, arrivals))
        for server in (mail, web):
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
        url = f"http://127.0.0.1:{web.server_address[1]}"
        yield Sinks(url, int(mail.server_address[1]), arrivals)


def test_a_slack_message_shows_on_the_page_as_blocks(sinks: Sinks) -> None:
    assert sinks.post("/slack", MESSAGE) == (200, "ok")

    page = sinks.page()

    assert '<div class="attachment" style="border-color:#d00000">' in page
    assert re.search(r'<h2 class="header"><svg [^>]*":rotating_light:">.+</svg> More is', page)
    assert "<b>What it means</b><br>run <code>kb-dr status</code>" in page
    assert '<div class="field"><b>Severity</b><br>critical</div>' in page
    assert "<hr>" in page
    assert 'class="button danger" href="https://docs.example/rpo"' in page
    assert '<div class="context"><span>kb · <a href="https://x.example/runs/1"' in page


def test_what_slack_would_refuse_is_refused_and_shown_as_such(sinks: Sinks) -> None:
    assert sinks.post("/slack", b"no json") == (400, "invalid_payload")
    assert sinks.post("/slack", {"channel": "c"}) == (400, "no_text")
    header = {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}
    assert sinks.post("/slack", {"text": "t", "blocks": [header]}) == (400, "invalid_blocks")

    # The one without anything in it is a probe, as of a channel that is tried.
    assert sinks.page().count('class="refused"') == 2


def test_the_newest_stands_first_and_one_sink_can_be_looked_at_alone(sinks: Sinks) -> None:
    sinks.post("/slack", {"text": "first"})
    sinks.post("/webhook", {"title": "second"})

    page, slack = sinks.page(), sinks.page("/?sink=slack")

    assert page.index("second") < page.index("first")
    assert "first" in slack
    assert "second" not in slack


def test_pagerduty_takes_a_trigger_and_a_resolve_of_its_key(sinks: Sinks) -> None:
    payload = {"summary": "RPO is broken", "source": "kb", "severity": "critical"}
    trigger = {
        "routing_key": "very-secret",
        "event_action": "trigger",
        "dedup_key": "k",
        "payload": payload,
    }
    status, answer = sinks.post("/v2/enqueue", trigger)
    assert (status, json.loads(answer)["dedup_key"]) == (202, "k")
    resolve = {"routing_key": "very-secret", "event_action": "resolve", "dedup_key": "k"}
    assert sinks.post("/v2/enqueue", resolve)[0] == 202
    assert sinks.post("/v2/enqueue", {**resolve, "dedup_key": ""})[0] == 400
    assert sinks.post("/v2/enqueue", {**trigger, "payload": {}})[0] == 400

    page = sinks.page()

    assert "<td>RPO is broken</td>" in page
    assert "very-secret" not in page + (sinks.page("/arrivals.json"))


def test_a_mail_arrives_whole_and_its_html_runs_nowhere(sinks: Sinks) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "RPO: gebrochen ü", "a@b.example", "c@d.example"
    mail.set_content("line\n.dot\n..two\n")
    mail.add_alternative("<b>rich</b><script>x()</script>", subtype="html")
    with smtplib.SMTP("127.0.0.1", sinks.mail_port, timeout=10) as client:
        client.send_message(mail)

    (arrived,) = sinks.arrivals.newest_first()
    page = sinks.page()

    assert arrived.content["to"] == ["c@d.example"]
    assert "\n.dot" in arrived.content["message"]
    assert "\n..two" in arrived.content["message"]
    assert "<td>RPO: gebrochen ü</td>" in page
    assert "<iframe sandbox srcdoc=" in page
    assert "<script>" not in page


def test_what_arrived_outlives_the_process_also_behind_half_a_line(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    Arrivals(file).add("slack", {"text": "kept"})
    with file.open("a") as stream:
        stream.write('{"sink": "sla')

    (found,) = Arrivals(file).newest_first()

    assert found.content == {"text": "kept"}
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*bold* _slanted_ ~gone~", "<b>bold</b> <i>slanted</i> <s>gone</s>"),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        ("*see <https://x.example/a_b_c|a *b*>*",
         '<b>see <a href="https://x.example/a_b_c" rel="noreferrer">a *b*</a></b>'),
        ("`*not bold*`", "<code>*not bold*</code>"),
        ("```\na < b\n```", "<pre>a &lt; b</pre>"),
        ("&lt;script&gt; &amp; more", "&lt;script&gt; &amp; more"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<javascript:alert(1)|click>", "&lt;javascript:alert(1)|click&gt;"),
        ("> quoted\nnot", "<blockquote>quoted</blockquote>not"),
        ("&gt; quoted", "<blockquote>quoted</blockquote>"),
        ("<!here> at <!date^1764205200^{date}|then>",
         '<span class="mention">@here</span> at 2025-11-27 01:00:00 UTC'),
        (":bell: :no_such_thing: 12:30:05", "🔔 :no_such_thing: 12:30:05"),
        ("\ue0000\ue001", "0"),
    ],
)  # fmt: skip
def test_mrkdwn_is_shown_as_slack_shows_it(text: str, shown: str) -> None:
    assert render_mrkdwn(text) == shown


def test_plain_text_has_no_marks() -> None:
    assert render_plain("*a* <b>\n:bell:") == "*a* &lt;b&gt;<br>🔔"


def test_an_emoji_is_drawn_by_its_name_and_by_its_letter_alike() -> None:
    assert render_plain("\N{WARNING SIGN}\ufe0f x") == render_plain(":warning: x")
    assert "<svg" in render_plain(":warning:")


@pytest.mark.parametrize(
    "odd",
    [
        {"blocks": "none"}, {"blocks": [1, None]}, {"attachments": [{"color": '"><script>'}]},
        {"blocks": [{"type": "section", "text": "no mapping"}]},
        {"blocks": [{"type": "<script>"}]},
        {"blocks": [{"type": "actions", "elements": [{"type": "button", "url": "javascript:x"}]}]},
    ],
)  # fmt: skip
def test_whatever_is_sent_nothing_of_it_becomes_a_script(odd: dict[str, Any]) -> None:
    shown = render_message(odd)

    assert "<script" not in shown
    assert "javascript:" not in shown
    assert why_refused(odd) or shown


def test_a_page_without_anything_says_so_and_unknown_content_is_escaped() -> None:
    assert "Nothing has arrived yet." in render_page([])
    page = render_page([Arrival("webhook", "2026-11-20T02:00:00.000+00:00", {"a": "<script>"})])
    assert not re.search(r"<script", page)


def test_the_settings_of_the_sandbox_lead_every_channel_to_the_sinks_but_what_leads_elsewhere() -> (
    None
):
    state = State(1, 1, {"alerts": 4711, "alerts-mail": 4712}, Secrets("", "", "", "", ""))
    lines = alert_settings(state, {})
    base = {"KB_DR_REPOSITORY_URL": "/somewhere"}

    channels = load_settings({**base, **lines}).alerting.channels
    written = {
        "KB_DR_SLACK_WEBHOOK_URL": "https://hooks.slack.example/x",
        "KB_DR_WEBHOOK_URL": "http://127.0.0.1:1/webhook",
    }
    elsewhere = alert_settings(state, written)

    assert list(channels) == ["slack", "email", "pagerduty", "webhook"]
    assert "KB_DR_SLACK_WEBHOOK_URL" not in elsewhere
    assert elsewhere["KB_DR_WEBHOOK_URL"] == "http://127.0.0.1:4711/webhook"
