"""A dead man's switch in the manner of healthchecks.io: told what happens, it misses what does not.

Source of the rules: healthchecks.io, documentation of the pinging API and of check states.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

_SIGNALS = ("start", "fail", "log")


@dataclass(frozen=True, slots=True)
class Ping:
    """One ping, as it came."""

    check: str
    signal: str
    """``start``, ``success``, ``fail`` or ``log``."""
    run: str
    body: str
    at: float


@dataclass(slots=True)
class _Check:
    """What is known of one check."""

    pings: list[Ping] = field(default_factory=list)

    def state(self, now: float, period: float, grace: float) -> str:
        """``new``, ``up``, ``late`` or ``down``."""
        told = [ping for ping in self.pings if ping.signal in ("success", "fail")]
        starts = [ping for ping in self.pings if ping.signal == "start"]
        if starts:
            begun = starts[-1]
            ended = any(ping.run == begun.run and ping.at >= begun.at for ping in told)
            if not ended and now > begun.at + grace:
                return "down"
        if not told:
            return "new"
        if told[-1].signal == "fail":
            return "down"
        waited = now - told[-1].at
        return "up" if waited <= period else "late" if waited <= period + grace else "down"


class PingSink:
    """Takes pings on loopback; each check is the first part of an address's path."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._checks: dict[str, _Check] = {}
        self.answer = 200
        """With which status pings are answered; those above 299 are not taken."""
        self.hangs = False
        """Whether it accepts connections and never answers."""
        self._over = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def url(self, check: str) -> str:
        """The address of one check."""
        return f"http://127.0.0.1:{self._server.server_port}/{check}"

    def pings(self, check: str) -> list[Ping]:
        """All that was told of one check, in order."""
        with self._lock:
            return list(self._checks[check].pings) if check in self._checks else []

    def signals(self, check: str) -> list[str]:
        """The same in one word each."""
        return [ping.signal for ping in self.pings(check)]

    def state(self, check: str, *, period: float, grace: float) -> str:
        """What the service shows of a check that is expected every ``period`` seconds."""
        with self._lock:
            found = self._checks.get(check, _Check())
            return found.state(self._clock(), period, grace)

    def __enter__(self) -> "PingSink":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, path: str, body: str) -> None:
        parts = urlsplit(path)
        check, _, signal = parts.path.strip("/").partition("/")
        run = parse_qs(parts.query).get("rid", [""])[0]
        kept = Ping(check, signal if signal in _SIGNALS else "success", run, body, self._clock())
        with self._lock:
            self._checks.setdefault(check, _Check()).pings.append(kept)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if sink.hangs:
                    sink._over.wait(60)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if sink.answer < 300:
                    sink._take(self.path, body.decode())
                self.send_response(sink.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
                """Nothing is said."""

        return Handler
