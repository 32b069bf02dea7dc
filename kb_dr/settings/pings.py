"""Where a dead man's switch is told that work began, succeeded or failed."""

from kb_dr.domain.ping import WORKS
from kb_dr.settings.addresses import is_address, read_secret
from kb_dr.settings.reader import Reader
from kb_dr.settings.secret import Secret


def read_pings(reader: Reader) -> dict[str, Secret]:
    """Work to the address its pings go to; of those configured alone."""
    found: dict[str, Secret] = {}
    for work in WORKS:
        name = f"KB_DR_PING_{work.upper()}_URL"
        url = read_secret(reader, name)
        if url is not None and is_address(reader, name, url):
            found[work] = url
    return found
