"""Ask an address whether the service is well."""

import http.client
import ssl
from urllib.parse import urlsplit

_SECONDS = 5.0


def ask_health(url: str) -> str:
    """Why the service at this address is not well; empty when it is.

    Only a status of 200 to 299 is well. A redirection is not followed: it would end at a page
    that says nothing of the service (a login, a page for maintenance). The query of the address,
    which may hold a token, is never said.
    """
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname or "",
                parts.port,
                timeout=_SECONDS,
                context=ssl.create_default_context(),
            )
        else:
            connection = http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=_SECONDS
            )
    except ValueError as error:
        return f"{place}: {error}"
    try:
        connection.request(
            "GET",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            headers={"User-Agent": "kb-dr", "Connection": "close"},
        )
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{place} does not answer: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"{place} answers with status {status}"
