"""Slack: an incoming webhook, and the few methods of its API a bot needs."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kb_dr_tests.sinks.certificates import Certificates
from kb_dr_tests.sinks.http_sink import HttpSink, Reply, Request, json_reply
from kb_dr_tests.sinks.slack_rules import problem_of

TOKEN = "xoxb-kb-dr-tests-0123456789-hush"
CHANNEL = "C0KBDRTESTS"
WEBHOOK_PATH = "/services/T0KBDR/B0KBDR/hush0123456789hush"
SCOPES = ("chat:write", "channels:history")


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """One message as Slack shows it."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] = field(default_factory=dict)
    via: str = "webhook"
    """``webhook`` or ``bot``."""

    @property
    def words(self) -> str:
        """All its texts, as they were sent, one below the other."""
        found: list[str] = []

        def gather(value: Any) -> None:
            if isinstance(value, list):
                for each in value:
                    gather(each)
            elif isinstance(value, dict):
                for key, each in value.items():
                    if key == "text" and isinstance(each, str):
                        found.append(each)
                    else:
                        gather(each)

        gather(self.blocks)
        return "\n".join(found)


class SlackSink(HttpSink[SlackMessage]):
    """Refuses what Slack refuses: blocks out of bounds, wrong tokens, channels and scopes.

    ``webhook_url`` is the incoming webhook's, ``url`` + ``/api/`` (``api_url``) the bot's.
    """

    def __init__(self, certificates: Certificates | None = None) -> None:
        super().__init__(certificates)
        self.token = TOKEN
        self.channel = CHANNEL
        self.webhook_path = WEBHOOK_PATH
        self.scopes: tuple[str, ...] = SCOPES
        self.member = True
        """Whether the bot was invited to the channel."""
        self.per_page = 100
        """How many messages conversations.history gives at once."""
        self._clock = 1_800_000_000.0
        self._lock = threading.Lock()

    @property
    def webhook_url(self) -> str:
        return f"{self.url}{self.webhook_path}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    def at(self, seconds: float) -> None:
        """What Slack's clock shows from now on, in seconds since 1970."""
        self._clock = seconds

    def understand(self, request: Request) -> Reply:
        path = urlsplit(request.path).path
        if path == self.webhook_path:
            return self._webhook(request)
        if path.startswith("/services/"):
            return _text(404, "no_service")
        if path.startswith("/api/"):
            return self._method(path.removeprefix("/api/"), request)
        return _text(404, "not found")

    def _webhook(self, request: Request) -> Reply:
        try:
            given = request.json
        except ValueError:
            return _text(400, "invalid_payload")
        if not isinstance(given, dict):
            return _text(400, "invalid_payload")
        if not given.get("text") and not given.get("blocks"):
            return _text(400, "no_text")
        if "blocks" in given and problem_of(given["blocks"]):
            return _text(400, "invalid_blocks")
        self._show(given, "webhook")
        return _text(200, "ok")

    def _method(self, method: str, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _no("invalid_auth")
        given = _arguments(request)
        scopes = ("x-oauth-scopes", ",".join(self.scopes))
        if method == "auth.test":
            said = {"ok": True, "team": "kb_dr tests", "user": "kb_dr", "bot_id": "B0KBDR"}
            return json_reply(200, said, scopes)
        needed = {"chat.postMessage": "chat:write", "conversations.history": "channels:history"}
        if method not in needed:
            return _no("unknown_method")
        if needed[method] not in self.scopes:
            return json_reply(200, {"ok": False, "error": "missing_scope",
                                    "needed": needed[method]}, scopes)  # fmt: skip
        if given.get("channel") != self.channel:
            return _no("channel_not_found")
        if not self.member:
            return _no("not_in_channel")
        return self._post(given) if method == "chat.postMessage" else self._history(given)

    def _post(self, given: dict[str, Any]) -> Reply:
        if "blocks" in given and problem_of(given["blocks"]):
            return _no("invalid_blocks")
        if not given.get("text") and not given.get("blocks"):
            return _no("no_text")
        message = self._show(given, "bot")
        return json_reply(200, {"ok": True, "channel": self.channel, "ts": message.ts})

    def _history(self, given: dict[str, Any]) -> Reply:
        oldest = float(given.get("oldest") or 0)
        start = int(given.get("cursor") or 0)
        whole = str(given.get("include_all_metadata", "")).lower() in ("true", "1")
        newest_first = [each for each in reversed(self.messages) if float(each.ts) > oldest]
        end = start + min(self.per_page, int(given.get("limit") or 100))
        found = [
            {"type": "message", "ts": each.ts, "text": each.text, "blocks": each.blocks}
            | ({"metadata": each.metadata} if whole and each.metadata else {})
            for each in newest_first[start:end]
        ]
        more = end < len(newest_first)
        return json_reply(
            200,
            {
                "ok": True,
                "messages": found,
                "has_more": more,
                "response_metadata": {"next_cursor": str(end) if more else ""},
            },
        )

    def _show(self, given: dict[str, Any], via: str) -> SlackMessage:
        with self._lock:
            self._clock += 0.001
            ts = f"{self._clock:.6f}"
        message = SlackMessage(
            ts, given.get("text", ""), given.get("blocks", []), given.get("metadata", {}), via
        )
        self.take(message)
        return message


def _arguments(request: Request) -> dict[str, Any]:
    if "json" in request.headers.get("content-type", ""):
        found = request.json
        return found if isinstance(found, dict) else {}
    text = request.body.decode() or urlsplit(request.path).query
    given: dict[str, Any] = {name: values[0] for name, values in parse_qs(text).items()}
    return {
        name: json.loads(value) if name in ("blocks", "metadata") else value
        for name, value in given.items()
    }


def _text(status: int, said: str) -> Reply:
    return Reply(status, said.encode(), "text/html")


def _no(error: str) -> Reply:
    return json_reply(200, {"ok": False, "error": error})
