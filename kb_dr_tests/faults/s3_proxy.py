"""A proxy in front of an S3 server that answers wrongly when told to.

It passes requests on byte for byte, the Host header with them, so signatures stay valid.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Kind(Enum):
    """What goes wrong with one request."""

    ANSWER = auto()
    """It never reaches the server; ``status`` and ``code`` are the answer."""
    HANG = auto()
    """It never reaches the server, and no answer comes."""
    LOSE_ANSWER = auto()
    """The server does it; the connection breaks before the answer."""
    CUT_ANSWER = auto()
    """The answer promises its whole body and breaks off in the middle."""
    DAMAGE_ANSWER = auto()
    """One bit of the answer's body is another."""
    DAMAGE_REQUEST = auto()
    """One bit of the request's body is another."""
    PASS_THEN = auto()
    """The request goes through whole; then ``then`` is called, and the answer follows."""


@dataclass
class Fault:
    """What goes wrong with the next requests of one method whose path has ``in_path``."""

    kind: Kind
    method: str
    times: int = 1
    in_path: str = ""
    status: int = 503
    code: str = "SlowDown"
    then: Callable[[], None] = lambda: None


class S3Proxy:
    """Listens on a loopback port of the system's choosing; ends with its block."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.requests: list[tuple[str, str]] = []
        """Method and path of everything that came, in order."""
        self.answered: list[tuple[str, str]] = []
        """Method and path of what was passed on and answered whole."""
        self.away = threading.Event()
        """Set once the line has been cut, until heal()."""
        self._faults: list[Fault] = []
        self._bytes_left: int | None = None
        self._lock = threading.Lock()
        self.over = threading.Event()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def inject(self, fault: Fault) -> None:
        """From now on, until it has happened ``times`` times."""
        with self._lock:
            self._faults.append(fault)

    def cut(self, *, after_bytes: int = 0) -> None:
        """Cut the line after so many more bytes of answers, in the middle of one; then nothing
        comes through until heal().
        """
        with self._lock:
            self._bytes_left = after_bytes
            if after_bytes == 0:
                self.away.set()

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults.clear()
            self._bytes_left = None
            self.away.clear()

    def let_through(self, size: int) -> int:
        """How much of a body of this size still comes through."""
        with self._lock:
            if self._bytes_left is None:
                return size
            part = min(size, self._bytes_left)
            self._bytes_left -= part
            if part < size:
                self.away.set()
            return part

    def fault_for(self, method: str, path: str) -> Fault | None:
        """The fault of this request, now used up by one."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self._faults:
                if fault.times > 0 and fault.method == method and fault.in_path in path:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Else each answer, whose head goes first, waits 40 ms for the client's acknowledgement."""
    owner: S3Proxy

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.owner.fault_for(self.command, self.path)
        if self.owner.away.is_set():
            self.close_connection = True
            return
        kind = fault.kind if fault else None
        if fault and kind is Kind.ANSWER:
            said = f"<Error><Code>{fault.code}</Code></Error>".encode()
            self._answer(fault.status, [], said)
            return
        if kind is Kind.HANG:
            self.owner.over.wait()
            self.close_connection = True
            return
        if kind is Kind.DAMAGE_REQUEST:
            body = _damaged(body)
        try:
            status, headers, answer = self._passed_on(body)
        except (OSError, HTTPException):
            self.close_connection = True  # the server is gone; so is the client's connection
            return
        if fault and kind is Kind.PASS_THEN:
            fault.then()
        if kind is Kind.LOSE_ANSWER:
            self.close_connection = True
            return
        if kind is Kind.DAMAGE_ANSWER:
            answer = _damaged(answer)
        whole = kind is not Kind.CUT_ANSWER
        through = self.owner.let_through(len(answer)) if whole else len(answer) // 2
        whole = whole and through == len(answer) and not self.owner.away.is_set()
        if whole:
            self.owner.answered.append((self.command, self.path))
        self._answer(status, headers, answer, through=through, cut=not whole)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _handle  # noqa: N815 - their names

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection("127.0.0.1", self.owner.upstream_port, timeout=120)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, value)
            connection.endheaders(body)
            response: HTTPResponse = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        through: int | None = None,
        cut: bool = False,
    ) -> None:
        self.send_response_only(status)
        promised = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                promised = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", promised)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if through is None else body[:through])
        if cut:
            self.close_connection = True


def _damaged(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
