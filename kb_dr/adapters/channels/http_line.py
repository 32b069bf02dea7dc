"""A connection of HTTP that can be given up from another thread, at any step."""

import base64
import http.client
import socket
import ssl
import threading
import urllib.request
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit

from kb_dr.settings.hosts import is_local


class HttpLine(http.client.HTTPConnection):
    """To one host: with TLS where the address is https, by the proxy the environment names."""

    def __init__(self, parts: SplitResult, seconds: float) -> None:
        self._server = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._given_up = threading.Event()
        port = parts.port or (443 if self._tls else 80)
        proxy = _proxy_to(self._server) if self._tls else None
        if proxy is None:
            super().__init__(self._server, port, timeout=seconds)
            self.default_port = 443 if self._tls else 80  # so that Host names no usual port
        else:
            super().__init__(proxy.hostname or "", proxy.port or 80, timeout=seconds)
            self.set_tunnel(self._server, port, _login_of(proxy, "Proxy-Authorization"))

    def connect(self) -> None:
        super().connect()
        if self._tls is not None:
            # The handshake apart from the wrapping, so that the socket can be shut meanwhile.
            self.sock = self._tls.wrap_socket(
                self.sock, server_hostname=self._server, do_handshake_on_connect=False
            )
            self.sock.do_handshake()
        if self._given_up.is_set():
            raise TimeoutError  # else it would still be sent, after we said that it was not

    def give_up(self) -> None:
        """Whoever reads or writes here ends with an error."""
        self._given_up.set()
        held = self.sock
        if held is not None:
            with suppress(OSError):
                socket.socket.shutdown(held, socket.SHUT_RDWR)


def login_in(parts: SplitResult) -> dict[str, str]:
    """The header for a name and password within an address."""
    return _login_of(parts, "Authorization")


def _login_of(parts: SplitResult, header: str) -> dict[str, str]:
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {header: f"Basic {base64.b64encode(login.encode()).decode()}"}


def _proxy_to(host: str) -> SplitResult | None:
    if is_local(host) or urllib.request.proxy_bypass(host):
        return None
    named = urllib.request.getproxies().get("https", "")
    return urlsplit(named if "://" in named else f"http://{named}") if named else None
