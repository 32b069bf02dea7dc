"""Any address: JSON with a signature over it; docs/monitoring.md describes both."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from kb_dr.adapters.channels.http_call import SECONDS
from kb_dr.adapters.channels.http_place import HttpPlace
from kb_dr.domain.message import Message
from kb_dr.ports import Clock
from kb_dr.settings.alerting import Webhook

SCHEMA = 1


class WebhookChannel:
    """Implements `kb_dr.ports.Channel`."""

    name = "webhook"
    groups = True

    def __init__(self, settings: Webhook, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._secret = settings.secret
        self._clock = clock
        self._place = HttpPlace(self.name, settings.url, "KB_DR_WEBHOOK_URL", clock, seconds)

    def check(self) -> str:
        return f"{self._place.reach()}; whether it takes alerts shows only when one is sent"

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        body = json.dumps(content(message), separators=(",", ":")).encode()
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "X-KB-DR-Delivery": message.id.encode("ascii", "replace").decode(),
            "X-KB-DR-Timestamp": timestamp,
        }
        if self._secret is not None:
            signed = timestamp.encode() + b"." + body
            digest = hmac.new(self._secret.reveal().encode(), signed, hashlib.sha256).hexdigest()
            headers["X-KB-DR-Signature"] = f"sha256={digest}"
        answer = self._place.post(body, headers)
        if not 200 <= answer.status < 300:
            raise self._place.error_of(answer)
        return ""


def content(message: Message) -> dict[str, Any]:
    """What is sent; every key is always there."""
    return {
        "schema": SCHEMA,
        "id": message.id,
        "dedup_key": message.dedup_key,
        "what": message.what.value,
        "kind": message.kind,
        "severity": message.severity.value,
        "service": message.service,
        "title": message.title,
        "happened": message.happened,
        "means": message.means,
        "do": message.do,
        "at": message.at.isoformat(),
        "alert_id": message.alert_id,
        "opened_at": message.opened_at.isoformat() if message.opened_at else None,
        "lasted_seconds": message.lasted_seconds,
        "runbook_url": message.runbook_url,
        "run_url": message.run_url,
        "facts": [{"label": label, "value": value} for label, value in message.facts],
        "lines": list(message.lines),
    }
