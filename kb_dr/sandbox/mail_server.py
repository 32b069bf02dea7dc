"""A mail server on loopback that takes every message: SMTP (RFC 5321), without TLS."""

import socketserver
from collections.abc import Callable

LARGEST_BYTES = 4 * 1024 * 1024
_LONGEST_LINE = 64 * 1024

Received = Callable[[str, tuple[str, ...], bytes], None]
"""Called with sender, recipients and the message, once it is whole."""


def mail_server(port: int, received: Received) -> socketserver.ThreadingTCPServer:
    """A server that listens on this port; serve_forever() begins."""

    class Conversation(socketserver.StreamRequestHandler):
        """One connection."""

        timeout = 60.0

        def handle(self) -> None:
            """Speak until QUIT, or until the other end is gone."""
            try:
                _converse(self, received)
            except OSError:
                return  # whoever hangs up has not sent it

    class Server(socketserver.ThreadingTCPServer):
        """Bound again at once after it ended."""

        allow_reuse_address = True
        daemon_threads = True

    return Server(("127.0.0.1", port), Conversation)


def _converse(here: socketserver.StreamRequestHandler, received: Received) -> None:
    sender: str | None = None
    recipients: list[str] = []

    def say(line: str) -> None:
        here.wfile.write(f"{line}\r\n".encode())

    say("220 sandbox ESMTP")
    while line := here.rfile.readline(_LONGEST_LINE):
        verb, _, rest = line.decode(errors="replace").strip().partition(" ")
        verb = verb.upper()
        if verb == "EHLO":
            say("250-sandbox")
            say(f"250-SIZE {LARGEST_BYTES}")
            say("250 8BITMIME")
        elif verb in ("HELO", "NOOP"):
            say("250 sandbox")
        elif verb == "RSET":
            sender, recipients = None, []
            say("250 forgotten")
        elif verb == "MAIL":
            sender, recipients = _address(rest), []
            say("250 go on")
        elif verb == "RCPT" and sender is not None:
            recipients.append(_address(rest))
            say("250 go on")
        elif verb == "DATA" and sender is not None and recipients:
            say("354 end with a dot on a line by itself")
            body = _read_body(here)
            if body is None:
                say("552 too large")
            else:
                received(sender, tuple(recipients), body)
                say("250 kept")
            sender, recipients = None, []
        elif verb == "QUIT":
            say("221 bye")
            return
        elif verb in ("MAIL", "RCPT", "DATA"):
            say("503 not now")
        else:
            say("502 not here")


def _read_body(here: socketserver.StreamRequestHandler) -> bytes | None:
    """The message without its dots; None when it is too large, read to its end all the same."""
    lines: list[bytes] = []
    size = 0
    while (line := here.rfile.readline(_LONGEST_LINE)) not in (b".\r\n", b".\n"):
        if not line:
            raise ConnectionError("the other end is gone")
        size += len(line)
        if size <= LARGEST_BYTES:
            lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines) if size <= LARGEST_BYTES else None


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
