"""What people are told: at the sandbox's own sinks, and at SNS."""

import email
import email.policy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page

from kb_dr.sandbox.alert_part import alerts_url
from kb_dr.sandbox.bring_up import state_of
from kb_dr_tests.end_to_end.pages import Pages, eventually
from kb_dr_tests.prometheus_servers import get
from kb_dr_tests.sinks import SnsSink

EVERYWHERE = frozenset({"slack", "mail", "pagerduty", "webhook", "sns"})
OVER = "back to normal"


@dataclass(frozen=True)
class Said:
    """One message, wherever it arrived."""

    sink: str
    text: str
    over: bool
    severity: str = ""
    """Where the message has it as a field of its own."""


class Told:
    """All that arrived since it was made, or last told to forget."""

    def __init__(self, pages: Pages, sns: SnsSink) -> None:
        self._pages, self._sns = pages, sns
        self._before: dict[str, int] = {}
        self.forget()

    def forget(self) -> None:
        """What has arrived by now counts no more."""
        self._before = {"sandbox": len(self._arrived()), "sns": len(self._sns.messages)}

    def wait_for(self, *words: str, over: bool = False) -> None:
        """Until a message with all these words, or its end, has arrived at every sink."""

        def everywhere() -> bool:
            return {each.sink for each in self.of(*words, over=over)} == EVERYWHERE

        eventually(everywhere, what=f"{words} is told everywhere, over: {over}")

    def of(self, *words: str, over: bool = False) -> list[Said]:
        """Those with all these words."""
        new = [_said(each) for each in self._arrived()[self._before["sandbox"] :]]
        new += [
            Said("sns", each.text, OVER in each.text)
            for each in self._sns.messages[self._before["sns"] :]
        ]
        return [
            each for each in new if each.over is over and all(word in each.text for word in words)
        ]

    def show_in_slack(self, page: Page, *words: str) -> None:
        """Open the sandbox's page of what arrived in Slack, with these messages alone."""
        page.goto(f"{alerts_url(state_of(self._pages.directory))}/?sink=slack")
        for each in page.locator("article").all():
            if not all(word in each.inner_text() for word in words):
                each.evaluate("each => each.dataset.other = 1")
        page.evaluate("document.querySelectorAll('[data-other]').forEach(each => each.remove())")

    def _arrived(self) -> list[dict[str, Any]]:
        """Oldest first."""
        port = urlsplit(alerts_url(state_of(self._pages.directory))).port
        assert port is not None
        found: list[dict[str, Any]] = json.loads(get(port, "/arrivals.json")[1])
        return found[::-1]


def _said(arrival: Mapping[str, Any]) -> Said:
    sink, content = arrival["sink"], arrival["content"]
    assert arrival["refused"] == "", arrival
    if sink == "mail":
        message = email.message_from_string(content["message"], policy=email.policy.default)
        body = message.get_body(("plain",))
        assert body is not None
        text = f"{message['Subject']}\n{body.get_content()}"
        return Said(sink, text, OVER in text)
    text = json.dumps(content, ensure_ascii=False)
    if sink == "pagerduty":
        severity = content.get("payload", {}).get("severity", "")
        return Said(sink, text, content["event_action"] == "resolve", severity)
    severity = content["body"]["severity"] if sink == "webhook" else ""
    return Said(sink, text, OVER in text, severity)
