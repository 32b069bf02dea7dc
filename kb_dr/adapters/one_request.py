"""One request over HTTP, with one deadline for all of it."""

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit


def one_request(method: str, url: str, body: bytes | None = None, *, seconds: float) -> str:
    """What was wrong; empty for a status of 200 to 299. Never says the address, nor raises.

    The deadline is for the whole: a time limit of the socket starts anew with each byte, and
    looking up a name has none.
    """
    try:
        parts = urlsplit(url)
        connection = _connection(parts, seconds)
    except ValueError as error:
        return f"not an address ({type(error).__name__})"
    told: list[str] = []
    asking = threading.Thread(
        target=lambda: told.append(_ask(connection, method, parts, body)),
        daemon=True,
        name="kb-dr-request",
    )
    asking.start()
    asking.join(seconds)
    if told:
        return told[0]
    if (held := connection.sock) is not None:
        with suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)
    return f"does not answer within {seconds:g} s"


def _connection(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            host, parts.port, timeout=seconds, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, parts.port, timeout=seconds)


def _ask(
    connection: http.client.HTTPConnection, method: str, parts: SplitResult, body: bytes | None
) -> str:
    try:
        connection.request(
            method,
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            body=body,
            headers={"User-Agent": "kb-dr", "Connection": "close"},
        )
        status = connection.getresponse().status
    except (ValueError, http.client.HTTPException) as error:
        # Their words quote the address, or what was answered.
        return f"does not answer: {type(error).__name__}"
    except OSError as error:
        return f"does not answer: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"answers with status {status}"
