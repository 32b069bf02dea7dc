"""One request over HTTP with one deadline, told without any secret."""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from kb_dr.adapters.channels.deadline import within
from kb_dr.adapters.channels.http_line import HttpLine, login_in

R = TypeVar("R")

SECONDS = 8.0
"""For all of a request: name, connection, TLS, and the last byte of the answer."""

_MOST_BYTES = 1024 * 1024
"""Of an answer; what is beyond is not read."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there was none, in words that hold nothing secret."""

    seen: str
    untrusted: bool = False
    """Whether the certificate is to blame: no retry helps."""


def call(
    method: str, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = SECONDS
) -> HttpAnswer | NoAnswer:
    """The answer to one request. Redirections are not followed; certificates are checked."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"User-Agent": "kb-dr", "Connection": "close"} | login_in(parts) | dict(headers)

    def exchange(line: HttpLine) -> HttpAnswer:
        line.request(method, target, body, sent)
        answer = line.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return HttpAnswer(answer.status, named, answer.read(_MOST_BYTES))

    return _carried_out(parts, exchange, seconds)


def reach(url: str, *, seconds: float = SECONDS) -> NoAnswer | None:
    """Why no connection (with TLS where it is https) comes about; None when one does."""

    def connect(line: HttpLine) -> None:
        line.connect()

    return _carried_out(urlsplit(url), connect, seconds)


def harmless(error: BaseException) -> str:
    """What an error of the network says of itself; those of HTTP quote addresses and headers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or type(error).__name__}"
    if isinstance(error, socket.gaierror):
        return "its name leads nowhere"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return type(error).__name__


def _carried_out(parts: SplitResult, step: Callable[[HttpLine], R], seconds: float) -> R | NoAnswer:
    try:
        line = HttpLine(parts, seconds)
        return within(seconds, lambda: _then_closed(line, step), give_up=line.give_up)
    except TimeoutError:
        return NoAnswer(f"no answer within {seconds:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return NoAnswer(harmless(error), isinstance(error, ssl.SSLCertVerificationError))


def _then_closed(line: HttpLine, step: Callable[[HttpLine], R]) -> R:
    try:
        return step(line)
    finally:
        line.close()
