"""What Slack answers when it does not take a message: docs.slack.dev, methods and webhooks."""

import re

from kb_dr.errors import AlertError, ChannelRefused, ChannelUnavailable, MessageRefused

_LATER = (
    "ratelimited", "rate_limited", "message_limit_exceeded", "internal_error", "fatal_error",
    "service_unavailable", "request_timeout", "rollup_error", "accesslimited",
)  # fmt: skip
_THIS_ONE = (
    "invalid_blocks", "invalid_blocks_format", "invalid_payload", "no_text", "msg_too_long",
    "msg_blocks_too_long", "invalid_metadata_format", "invalid_metadata_schema",
    "metadata_too_large", "too_many_attachments", "invalid_arguments", "invalid_array_arg",
    "invalid_charset", "invalid_form_data", "invalid_json", "json_not_object",
    "markdown_text_conflict",
)  # fmt: skip
_HINTS = {
    "channel_not_found": "Is the channel's id right (KB_DR_SLACK_CHANNEL), and, if it is private, "
    "was the bot invited to it?",
    "not_in_channel": "Invite the bot to the channel of KB_DR_SLACK_CHANNEL: /invite @its-name.",
    "is_archived": "The channel was archived: name another.",
    "channel_is_archived": "The channel was archived: make a webhook for another.",
}


def word_of(text: object) -> str:
    """Slack's own word for an error; what is none is not shown."""
    found = text.strip() if isinstance(text, str) else ""
    return found if re.fullmatch(r"[a-z][a-z_]{1,60}", found) else ""


def error_of(
    action: str, word: str, *, setting: str, needed: str = "", wait: float | None = None
) -> AlertError:
    """What it means; words we do not know are somebody's to look at."""
    seen = f"{action}: {word or 'an answer that is none of Slack'}"
    if word in _LATER:
        return ChannelUnavailable(seen, retry_after_seconds=wait)
    if word in _THIS_ONE:
        return MessageRefused(seen)
    if word == "missing_scope":
        scope = word_of(needed.replace(":", "_")) and needed
        scope = scope or "chat:write, channels:history"
        return ChannelRefused(seen, hint=f"Give the bot the scope {scope} and install it again.")
    return ChannelRefused(seen, hint=_HINTS.get(word, f"Is {setting} still right?"))
