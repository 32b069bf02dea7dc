"""An HTTP server whose answers are programmed; the services' own rules stand in its children."""

import json
import ssl
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from typing import Any, Self, TypeVar

from kb_dr_tests.sinks.answers import Answer, How, Programmed
from kb_dr_tests.sinks.certificates import Certificates

T = TypeVar("T")

DRIP_SECONDS = 0.2
"""Between two bytes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service says to a request it understood."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def json_reply(status: int, content: Any, *headers: tuple[str, str]) -> Reply:
    """A reply in JSON."""
    return Reply(status, json.dumps(content).encode(), headers=headers)


class HttpSink(Programmed[T], ABC):
    """Listens on a loopback port of the system's choosing; ends with its block."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        super().__init__()
        self.requests: list[Request] = []
        """Everything that came, also what was not taken, oldest first."""
        self._scheme = "https" if certificates else "http"
        sink = self

        class Handler(_Handler):
            owner = sink

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if certificates is not None:
            self._server.socket = certificates.server_context().wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @abstractmethod
    def understand(self, request: Request) -> Reply:
        """Take a request as the service would, and say what it answers."""

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    owner: HttpSink[Any]

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True  # the client went away, or does not trust us

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.owner.requests.append(request)
        answer = self.owner.take_answer()
        if answer.how is How.HANG:
            self.owner.over.wait()
            self.close_connection = True
        elif answer.how is How.DROP:
            self._drop()
        elif answer.how is How.DRIP:
            self._drip()
        elif answer.how is How.STATUS:
            self._say(_reply_of(answer))
        else:
            reply = self.owner.understand(request)
            if answer.how is How.LOSE_ANSWER:
                self._drop()
            else:
                self._say(reply)

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815 - their names

    def _say(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(SHUT_RDWR)

    def _drip(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not self.owner.over.wait(DRIP_SECONDS):
            self.wfile.write(b".")
            self.wfile.flush()


def _reply_of(answer: Answer) -> Reply:
    headers = Message()
    if answer.retry_after is not None:
        headers["Retry-After"] = answer.retry_after
    if answer.location is not None:
        headers["Location"] = answer.location
    body = answer.body if answer.body is not None else f"status {answer.code}"
    return Reply(answer.code, body.encode(), "text/plain", tuple(headers.items()))
