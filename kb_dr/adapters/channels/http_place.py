"""An address alerts are posted to, and what its answers mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from kb_dr.adapters.channels.http_call import SECONDS, HttpAnswer, NoAnswer, call, reach
from kb_dr.errors import AlertError, ChannelRefused, ChannelUnavailable, MessageRefused
from kb_dr.ports import Clock
from kb_dr.settings.secret import Secret

LONGEST_WAIT_SECONDS = 3600.0
"""Whatever Retry-After says: a wrong one must not silence a channel for days."""

_LATER = (408, 425, 429)
_TRUST = (
    "Trust the authority that signed it, in the system's store or by SSL_CERT_FILE; "
    "nothing is sent where the certificate is not trusted."
)


@dataclass(frozen=True, slots=True)
class HttpPlace:
    """One address; only its host is ever shown."""

    channel: str
    url: Secret
    setting: str
    """The one that holds the address, or else what the service knows us by."""
    clock: Clock
    seconds: float = SECONDS

    @property
    def shown(self) -> str:
        """What errors call it."""
        return f"{self.channel} at {urlsplit(self.url.reveal()).hostname}"

    def post(self, body: bytes, headers: Mapping[str, str], *, path: str = "") -> HttpAnswer:
        """The answer, whatever its status. Raises ChannelUnavailable when there is none, and
        ChannelRefused when the certificate is not trusted."""
        answer = call("POST", self.url.reveal() + path, body, headers, seconds=self.seconds)
        if isinstance(answer, NoAnswer):
            raise self._unanswered("send to", answer)
        return answer

    def reach(self) -> str:
        """What was seen when a connection was made and nothing sent; raises as post does."""
        trouble = reach(self.url.reveal(), seconds=self.seconds)
        if trouble is not None:
            raise self._unanswered("connect to", trouble)
        parts = urlsplit(self.url.reveal())
        secured = ", its certificate is trusted" if parts.scheme == "https" else ""
        return f"{parts.hostname} takes connections{secured}"

    def error_of(self, answer: HttpAnswer, said: str = "") -> AlertError:
        """What an answer that is no success means; ``said``: its own word, if it is harmless."""
        seen = f"send to {self.shown}: status {answer.status}" + (f", {said}" if said else "")
        if answer.status in _LATER or answer.status >= 500:
            wait = retry_after_seconds(answer.headers, self.clock.now())
            return ChannelUnavailable(seen, retry_after_seconds=wait)
        if 300 <= answer.status < 400:
            return ChannelRefused(
                f"{seen}, a redirection, which is not followed",
                hint=f"Put the address it leads to into {self.setting}.",
            )
        if answer.status in (401, 403, 404, 405, 407, 410):
            return ChannelRefused(seen, hint=f"Is {self.setting} still right?")
        return MessageRefused(seen)

    def _unanswered(self, action: str, trouble: NoAnswer) -> AlertError:
        seen = f"{action} {self.shown}: {trouble.seen}"
        return ChannelRefused(seen, hint=_TRUST) if trouble.untrusted else ChannelUnavailable(seen)


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Retry-After, which is seconds or a date (RFC 9110, 10.2.3); None when it says neither.

    A date is measured from the answer's own Date where it has one: clocks differ.
    """
    text = headers.get("retry-after", "").strip()
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return min(float(text), LONGEST_WAIT_SECONDS)
    until = _date(text)
    if until is None:
        return None
    sent = _date(headers.get("date", "")) or now
    return min(max((until - sent).total_seconds(), 0.0), LONGEST_WAIT_SECONDS)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
