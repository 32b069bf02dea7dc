"""An exporter: metrics over HTTP, from looks that scrapes share."""

import logging
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from threading import Condition, Thread
from typing import TypeVar

from kb_dr.adapters.prometheus_text import CONTENT_TYPE, as_text
from kb_dr.domain.metric import Metric

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
_NO_HEADER_SECONDS = 10.0
"""Prometheus' own default."""
_TO_ANSWER_SECONDS = 0.5
"""Of the timeout, kept for the way back."""
_REQUEST_SECONDS = 30.0
"""A client that sends nothing is let go of."""


class Looks:
    """Looks that are made when somebody asks, one at a time, and shared by all who ask.

    A look counts from when it was begun. Up to ``fresh_seconds`` old it is handed out as it is;
    older, a new one is begun and waited for, and only when that does not end in time is the last
    one handed out, up to ``oldest_seconds`` old: of a store that answers slowly, each look would
    else come too late for the scrape that began it.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[Metric]],
        *,
        fresh_seconds: float,
        oldest_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._fresh_seconds = fresh_seconds
        self._oldest_seconds = oldest_seconds
        self._monotonic = monotonic
        self._condition = Condition()
        self._running = False
        self._last: tuple[float, Sequence[Metric]] | None = None

    def get(self, wait_seconds: float) -> Sequence[Metric] | None:
        """The metrics of now; None when nothing recent enough is known within that time."""
        with self._condition:
            asked = self._monotonic()
            if (found := self._younger_than(self._fresh_seconds, asked)) is not None:
                return found
            if not self._running:
                self._running = True
                # A daemon: a store that hangs must not keep the exporter from ending.
                Thread(target=self._run, name="look", daemon=True).start()
            self._condition.wait_for(lambda: not self._running, timeout=max(0.0, wait_seconds))
            return self._younger_than(self._oldest_seconds, self._monotonic())

    @property
    def last(self) -> Sequence[Metric]:
        """Of the last look that ended, however old; empty before the first."""
        with self._condition:
            return self._last[1] if self._last else ()

    def _younger_than(self, seconds: float, now: float) -> Sequence[Metric] | None:
        if self._last is None or now - self._last[0] > seconds:
            return None
        return self._last[1]

    def _run(self) -> None:
        began = self._monotonic()
        found: Sequence[Metric] | None = None
        try:
            found = self._look()
        finally:
            # Also after a bug, whose trace the thread leaves on stderr: then nothing is known.
            with self._condition:
                if found is not None:
                    self._last = (began, found)
                self._running = False
                self._condition.notify_all()


class MetricsServer(ThreadingHTTPServer):
    """Answers GET /metrics. Raises OSError when it cannot listen there."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        host: str,
        port: int,
        looks: Looks,
        without_look: Callable[[Sequence[Metric]], Sequence[Metric]],
    ) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        self.looks = looks
        self.without_look = without_look
        """What to say instead of values that are too old, of which it is given the last."""
        super().__init__((host, port), _Handler)

    def body(self, timeout_seconds: float) -> bytes:
        """One scrape, well within its timeout."""
        found = self.looks.get(timeout_seconds - _TO_ANSWER_SECONDS)
        if found is None:
            logger.warning("metrics: no look came to its end in time; no values are served")
            found = self.without_look(self.looks.last)
        return as_text(found)


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, self.server.body(self._timeout()), CONTENT_TYPE)
        elif path == "/":
            self._answer(200, b"kb-dr: see /metrics\n", "text/plain; charset=utf-8")
        else:
            self._answer(404, b"not found: see /metrics\n", "text/plain; charset=utf-8")

    def _timeout(self) -> float:
        try:
            given = float(self.headers.get(_TIMEOUT_HEADER, _NO_HEADER_SECONDS))
        except ValueError:
            return _NO_HEADER_SECONDS
        return min(max(given, 1.0), 60.0) if given == given else _NO_HEADER_SECONDS

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError as error:
            logger.debug("metrics: the client went away: %s", error)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """A line for every scrape tells nobody anything."""
