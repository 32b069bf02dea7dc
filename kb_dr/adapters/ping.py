"""Pings in the manner of healthchecks.io: {url}/start, {url}, {url}/fail, with ?rid=uuid."""

import logging
import threading
from queue import SimpleQueue
from urllib.parse import urlsplit, urlunsplit

from kb_dr.adapters.one_request import one_request
from kb_dr.domain.ping import Signal
from kb_dr.logs import with_these_ids
from kb_dr.scrub import scrub
from kb_dr.settings import Secret

logger = logging.getLogger(__name__)

SECONDS = 5.0
"""Deadline of one request, whole."""
_TRIES = 2
_BODY_BYTES = 10_000


class HttpPinger:
    """Implements `kb_dr.ports.Pinger`: in a thread of its own, so that the work never waits.

    What cannot be told is logged, without the address: who has that may ping.
    """

    def __init__(self, url: Secret, work: str, *, seconds: float = SECONDS) -> None:
        self._url = url
        self._work = work
        self._seconds = seconds
        self._waiting: SimpleQueue[tuple[str, str, bytes] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, signal: Signal, run: str, text: str = "") -> None:
        body = scrub(text).encode(errors="replace")[:_BODY_BYTES]
        self._waiting.put((signal.name.lower(), self._address(signal, run), body))
        if self._thread is None:
            self._thread = threading.Thread(
                target=with_these_ids(self._tell), daemon=True, name=f"kb-dr-ping-{self._work}"
            )
            self._thread.start()

    def end(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(2 * _TRIES * self._seconds + 1)
            self._thread = None

    def _address(self, signal: Signal, run: str) -> str:
        parts = urlsplit(self._url.reveal())
        path = parts.path.rstrip("/") + (f"/{signal}" if signal else "")
        query = f"{parts.query}&rid={run}" if parts.query else f"rid={run}"
        return urlunsplit((parts.scheme, parts.netloc, path or "/", query, ""))

    def _tell(self) -> None:
        while (told := self._waiting.get()) is not None:
            signal, address, body = told
            seen = ""
            for _ in range(_TRIES):
                seen = one_request("POST", address, body, seconds=self._seconds)
                if not seen or "status 4" in seen:
                    break
            if seen:
                logger.warning("the %s ping of %s was not taken: it %s", signal, self._work, seen)
