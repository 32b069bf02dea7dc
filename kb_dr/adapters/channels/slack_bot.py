"""Slack by a bot, which finds again what it posted: each message is shown once."""

import json
from datetime import datetime, timedelta
from typing import Any

from kb_dr.adapters.channels.http_call import SECONDS
from kb_dr.adapters.channels.http_place import HttpPlace, retry_after_seconds
from kb_dr.adapters.channels.slack_blocks import blocks, notification
from kb_dr.adapters.channels.slack_words import error_of, word_of
from kb_dr.domain.message import Message
from kb_dr.errors import ChannelRefused, ChannelUnavailable
from kb_dr.ports import Clock
from kb_dr.settings.alerting import SlackBot
from kb_dr.settings.secret import Secret

EVENT = "kb_dr_alert"
"""The type of the metadata each message bears."""

_SETTING = "KB_DR_SLACK_BOT_TOKEN"
_CLOCKS_DIFFER = timedelta(minutes=10)
_PAGE = 200
_PAGES = 10


class SlackBotChannel:
    """Implements `kb_dr.ports.Channel`."""

    name = "slack-bot"
    groups = True

    def __init__(self, settings: SlackBot, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._settings = settings
        self._clock = clock
        api = Secret(settings.api_url.rstrip("/") + "/")
        self._place = HttpPlace(self.name, api, "KB_DR_SLACK_API_URL", clock, seconds)

    def check(self) -> str:
        """Token, scopes and channel, as far as they can be seen without posting."""
        answer, scopes = self._call("auth.test", {})
        if scopes and "chat:write" not in scopes:
            raise error_of(self._action("auth.test"), "missing_scope", setting=_SETTING,
                           needed="chat:write")  # fmt: skip
        self._call("conversations.history", {"channel": self._settings.channel, "limit": 1})
        team = answer.get("team")
        where = f" of {team}" if isinstance(team, str) and team else ""
        return f"the bot{where} may read {self._settings.channel}; nothing was posted"

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        if tried_since is not None and (found := self._found(message.id, tried_since)):
            return found
        said = {
            "channel": self._settings.channel,
            "text": notification(message),
            "blocks": blocks(message),
            "metadata": {"event_type": EVENT, "event_payload": {"message_id": message.id}},
            "unfurl_links": False,
            "unfurl_media": False,
        }
        answer, _ = self._call("chat.postMessage", said)
        return str(answer.get("ts", ""))

    def _found(self, message_id: str, since: datetime) -> str:
        """What Slack calls the message if it is there; empty: not there, or not ours to read."""
        asked: dict[str, Any] = {
            "channel": self._settings.channel,
            "oldest": f"{(since - _CLOCKS_DIFFER).timestamp():.6f}",
            "include_all_metadata": True,
            "limit": _PAGE,
        }
        until = self._clock.monotonic() + 2 * self._place.seconds
        for _ in range(_PAGES):
            if self._clock.monotonic() > until:
                raise ChannelUnavailable(
                    f"{self._action('conversations.history')}: the message was not found in time"
                )
            try:
                answer, _scopes = self._call("conversations.history", asked)
            except ChannelRefused:
                # It may post without being allowed to read. Twice is better than never.
                return ""
            for each in answer.get("messages", []):
                if _is_ours(each, message_id):
                    return str(each.get("ts", ""))
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return ""
            asked["cursor"] = cursor
        return ""

    def _call(self, method: str, given: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The answer of one method, and the scopes the token has."""
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Authorization": f"Bearer {self._settings.token.reveal()}",
        }
        answer = self._place.post(json.dumps(given).encode(), headers, path=method)
        said = _object(answer.body)
        if answer.status != 200:
            raise self._place.error_of(answer, word_of((said or {}).get("error")))
        if said is None:  # a page of somebody's proxy is no success
            raise error_of(self._action(method), "", setting="KB_DR_SLACK_API_URL")
        if said.get("ok") is not True:
            raise error_of(
                self._action(method),
                word_of(said.get("error")),
                setting=_SETTING,
                needed=str(said.get("needed", "")),
                wait=retry_after_seconds(answer.headers, self._clock.now()),
            )
        scopes = answer.headers.get("x-oauth-scopes", "").replace(" ", "")
        return said, tuple(each for each in scopes.split(",") if each)

    def _action(self, method: str) -> str:
        return f"call {method} of {self._place.shown}"


def _is_ours(shown: dict[str, Any], message_id: str) -> bool:
    metadata = shown.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    return metadata.get("event_type") == EVENT and payload.get("message_id") == message_id


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
