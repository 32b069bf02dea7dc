"""PagerDuty's Events API v2: one incident for each condition, opened and closed by its key.

Source: developer.pagerduty.com, Events API v2, "Send an Alert Event".
"""

import hashlib
import json
from datetime import datetime
from typing import Any

from kb_dr.adapters.channels.http_call import SECONDS, HttpAnswer
from kb_dr.adapters.channels.http_place import HttpPlace
from kb_dr.adapters.channels.texts import clean, headline, links
from kb_dr.domain.message import Message, What
from kb_dr.errors import AlertError, ChannelRefused
from kb_dr.ports import Clock
from kb_dr.settings.alerting import PagerDuty
from kb_dr.settings.secret import Secret

_SETTING = "KB_DR_PAGERDUTY_ROUTING_KEY"
_LONGEST_KEY = 255
_LONGEST_SUMMARY = 1024
_LONGEST_DETAIL = 4000
_ACTIONS = {What.ACKNOWLEDGED: "acknowledge", What.RECOVERED: "resolve"}


class PagerDutyChannel:
    """Implements `kb_dr.ports.Channel`."""

    name = "pagerduty"
    groups = False

    def __init__(self, settings: PagerDuty, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._key = settings.routing_key
        self._place = HttpPlace(
            self.name, Secret(f"{settings.url}/v2/enqueue"), "KB_DR_PAGERDUTY_URL", clock, seconds
        )

    def check(self) -> str:
        return f"{self._place.reach()}; its key shows only when an incident is opened"

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        """What was told and is no condition opens no incident, but for a test, which closes its
        own at once."""
        key = dedup_key(message.service, message.dedup_key)
        if message.what is What.TOLD and message.kind != "channel_test":
            return ""
        action = _ACTIONS.get(message.what, "trigger")
        self._enqueue(action, key, message)
        if message.what is What.TOLD:
            self._enqueue("resolve", key, message)
        return key

    def _enqueue(self, action: str, key: str, message: Message) -> None:
        event: dict[str, Any] = {
            "routing_key": self._key.reveal(),
            "event_action": action,
            "dedup_key": key,
        }
        if action == "trigger":
            event |= {"client": "kb_dr", "payload": _payload(message), "links": _links(message)}
            if message.run_url.startswith("http"):
                event["client_url"] = message.run_url
        answer = self._place.post(json.dumps(event).encode(), {"Content-Type": "application/json"})
        if answer.status != 202:
            raise self._error(answer)

    def _error(self, answer: HttpAnswer) -> AlertError:
        # A key it does not know is one of the things it calls an invalid event.
        if answer.status in (401, 403) or (answer.status == 400 and b"routing_key" in answer.body):
            return ChannelRefused(
                f"send to {self._place.shown}: status {answer.status}, it does not know the key",
                hint=f"{_SETTING} is the integration key of an Events API v2 integration.",
            )
        return self._place.error_of(answer)


def dedup_key(service: str, key: str) -> str:
    """One for each condition of each service; what is too long is named by its digest."""
    whole = f"{service}/{key}"
    if len(whole) <= _LONGEST_KEY and whole.isascii():
        return whole
    return f"{service[:100]}/{hashlib.sha256(whole.encode()).hexdigest()}"


def _payload(message: Message) -> dict[str, Any]:
    said = headline(message)
    happened = clean(message.happened).replace("\n", " ")
    details = {
        "happened": message.happened,
        "means": message.means,
        "do": message.do,
        "kind": message.kind,
        "alert": message.alert_id,
        "acknowledge": f"kb-dr alerts ack {message.alert_id}" if message.alert_id else "",
        "runbook": message.runbook_url,
        "lines": "\n".join(message.lines),
    } | dict(message.facts)
    return {
        "summary": (f"{said}: {happened}" if happened else said)[:_LONGEST_SUMMARY],
        "source": message.service,
        "severity": message.severity.value,
        "timestamp": message.at.isoformat(),
        "component": message.dedup_key[:_LONGEST_KEY],
        "class": message.kind,
        "custom_details": {
            name: clean(value)[:_LONGEST_DETAIL] for name, value in details.items() if value
        },
    }


def _links(message: Message) -> list[dict[str, str]]:
    return [
        {"href": place, "text": label}
        for label, place in links(message)
        if place.startswith(("https://", "http://"))
    ]
