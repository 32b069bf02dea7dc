"""PagerDuty's Events API v2: keeps one incident for each dedup key."""

import threading
from dataclasses import dataclass, field
from typing import Any

from kb_dr_tests.sinks.certificates import Certificates
from kb_dr_tests.sinks.http_sink import HttpSink, Reply, Request, json_reply

ROUTING_KEY = "0123456789abcdef0123456789abcdef"


@dataclass
class Incident:
    """What one dedup key has come to."""

    dedup_key: str
    state: str
    """``triggered``, ``acknowledged`` or ``resolved``."""
    severity: str
    summary: str
    times: int = 1
    """How often it was triggered since it was opened."""
    opened: int = 1
    """How often it was opened: a trigger after a resolve opens it again, and pages again."""
    details: dict[str, Any] = field(default_factory=dict)
    links: list[dict[str, str]] = field(default_factory=list)


class PagerDutySink(HttpSink[dict[str, Any]]):
    """``messages`` are the events taken; ``incidents`` what they came to."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        super().__init__(certificates)
        self.routing_key = ROUTING_KEY
        self.incidents: dict[str, Incident] = {}
        self._lock = threading.Lock()

    def understand(self, request: Request) -> Reply:
        if (request.method, request.path) != ("POST", "/v2/enqueue"):
            return json_reply(404, {"status": "not found"})
        try:
            event = request.json
        except ValueError:
            return _invalid("Event object is invalid")
        if problem := self._problem_of(event):
            return _invalid(problem)
        with self._lock:
            self._apply(event)
        self.take(event)
        return json_reply(
            202,
            {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]},
        )

    def open_incidents(self) -> tuple[Incident, ...]:
        """Those not resolved."""
        with self._lock:
            return tuple(each for each in self.incidents.values() if each.state != "resolved")

    def _problem_of(self, event: dict[str, Any]) -> str | None:
        if event.get("routing_key") != self.routing_key:
            return "'routing_key' is invalid (must be a valid integration key)"
        if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
            return "'event_action' is invalid"
        key = event.get("dedup_key")
        if not isinstance(key, str) or not 1 <= len(key) <= 255:
            return "'dedup_key' is invalid"
        if event["event_action"] != "trigger":
            return None
        payload = event.get("payload", {})
        if not payload.get("summary") or len(payload["summary"]) > 1024:
            return "'payload.summary' is invalid"
        if not payload.get("source"):
            return "'payload.source' is missing or blank"
        if payload.get("severity") not in ("critical", "error", "warning", "info"):
            return "'payload.severity' is invalid"
        if any(not link.get("href") for link in event.get("links", [])):
            return "'links' is invalid"
        return None

    def _apply(self, event: dict[str, Any]) -> None:
        key, action = event["dedup_key"], event["event_action"]
        known = self.incidents.get(key)
        if action == "trigger":
            payload = event["payload"]
            said = {"details": payload.get("custom_details", {}), "links": event.get("links", [])}
            if known is None:
                self.incidents[key] = Incident(
                    key, "triggered", payload["severity"], payload["summary"], **said
                )
            elif known.state == "resolved":
                self.incidents[key] = Incident(
                    key, "triggered", payload["severity"], payload["summary"],
                    opened=known.opened + 1, **said,
                )  # fmt: skip
            else:
                known.times += 1
                known.severity = payload["severity"]
        elif known is not None and known.state != "resolved":
            known.state = "acknowledged" if action == "acknowledge" else "resolved"


def _invalid(problem: str) -> Reply:
    return json_reply(
        400,
        {"status": "invalid event", "message": "Event object is invalid", "errors": [problem]},
    )
