"""Ask an address whether the service is well."""

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

_SECONDS = 5.0


def ask_health(url: str) -> str:
    """Why the service at this address is not well; empty when it is.

    Only a status of 200 to 299 is well. A redirection is not followed: it would end at a page
    that says nothing of the service (a login, a page for maintenance). The query of the address,
    which may hold a token, is never said. All of it has one deadline: a time limit of the socket
    starts anew with each byte.
    """
    try:
        parts = urlsplit(url)
        connection = _connection(parts)
    except ValueError as error:
        return f"not an address ({type(error).__name__})"
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    told: list[str] = []
    asking = threading.Thread(
        target=lambda: told.append(_ask(connection, parts)), daemon=True, name="kb-dr-health"
    )
    asking.start()
    asking.join(_SECONDS)
    if told:
        return f"{place} {told[0]}" if told[0] else ""
    if (held := connection.sock) is not None:
        with suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)
    return f"{place} does not answer within {_SECONDS:g} s"


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            host, parts.port, timeout=_SECONDS, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)


def _ask(connection: http.client.HTTPConnection, parts: SplitResult) -> str:
    try:
        connection.request(
            "GET",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
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
