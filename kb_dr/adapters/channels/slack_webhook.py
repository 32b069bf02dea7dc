"""Slack by an incoming webhook: at least once; what was posted cannot be asked for."""

import json
from datetime import datetime

from kb_dr.adapters.channels.http_call import SECONDS, HttpAnswer
from kb_dr.adapters.channels.http_place import HttpPlace
from kb_dr.adapters.channels.slack_blocks import blocks, notification
from kb_dr.adapters.channels.slack_words import error_of, word_of
from kb_dr.domain.message import Message
from kb_dr.errors import AlertError
from kb_dr.ports import Clock
from kb_dr.settings.alerting import SlackWebhook

_SETTING = "KB_DR_SLACK_WEBHOOK_URL"
_NOTHING_TO_POST = ("no_text", "invalid_payload", "missing_text_or_fallback_or_attachments")
_JSON = {"Content-Type": "application/json; charset=utf-8"}


class SlackWebhookChannel:
    """Implements `kb_dr.ports.Channel`."""

    name = "slack"
    groups = True

    def __init__(self, settings: SlackWebhook, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._place = HttpPlace(self.name, settings.url, _SETTING, clock, seconds)

    def check(self) -> str:
        """Slack looks at the address before it looks at what was posted, and shows nothing of a
        payload without words: its complaint is the proof that the address is right."""
        answer = self._place.post(b"{}", _JSON)
        word = word_of(answer.body.decode("utf-8", "replace"))
        if answer.status == 400 and word in _NOTHING_TO_POST:
            return "the webhook is known to Slack; nothing was posted"
        raise self._error(answer)

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        said = {"text": notification(message), "blocks": blocks(message)}
        answer = self._place.post(json.dumps(said).encode(), _JSON)
        if answer.status != 200:
            raise self._error(answer)
        if answer.body.lstrip()[:1] == b"<":  # a page of somebody's proxy is no success
            raise error_of(f"send to {self._place.shown}", "", setting=_SETTING)
        return ""

    def _error(self, answer: HttpAnswer) -> AlertError:
        word = word_of(answer.body.decode("utf-8", "replace"))
        if 400 <= answer.status < 500 and answer.status not in (408, 425, 429) and word:
            return error_of(f"send to {self._place.shown}", word, setting=_SETTING)
        return self._place.error_of(answer, word)
