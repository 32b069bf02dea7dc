"""Ask an address whether the service is well."""

from urllib.parse import urlsplit

from kb_dr.adapters.one_request import one_request

_SECONDS = 5.0


def ask_health(url: str) -> str:
    """Why the service at this address is not well; empty when it is.

    Only a status of 200 to 299 is well. A redirection is not followed: it would end at a page
    that says nothing of the service (a login, a page for maintenance). The query of the address,
    which may hold a token, is never said. All of it has one deadline.
    """
    seen = one_request("GET", url, seconds=_SECONDS)
    if seen.startswith("not an address"):
        return seen
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path} {seen}" if seen else ""
