"""Which hosts are this machine."""

import ipaddress


def is_local(host: str) -> bool:
    """Whether nothing leaves this machine on the way there: a socket's directory, loopback."""
    if host.startswith("/") or host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
