"""Mail over SMTP: plain text and HTML, one thread in a mail program for one alert."""

import logging
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from kb_dr.adapters.channels.deadline import within
from kb_dr.adapters.channels.mail_text import composed
from kb_dr.adapters.channels.smtp_errors import error_of
from kb_dr.domain.message import Message
from kb_dr.errors import ChannelRefused, ChannelUnavailable
from kb_dr.ports import Clock
from kb_dr.settings.alerting import Email

T = TypeVar("T")

logger = logging.getLogger(__name__)

SECONDS = 15.0
"""For all of a mail; many servers look at one for some seconds before they take it."""


class MailChannel:
    """Implements `kb_dr.ports.Channel`."""

    name = "email"
    groups = True

    def __init__(self, settings: Email, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._settings = settings
        self._clock = clock
        self._seconds = seconds

    def check(self) -> str:
        """As far as a mail goes before its first word."""
        settings = self._settings
        refused = self._session("check", self._offered)
        if refused:
            raise ChannelRefused(
                f"check {self._shown}: it refuses {', '.join(refused)}",
                hint="Mend KB_DR_EMAIL_TO.",
            )
        secured = "without TLS" if settings.tls == "off" else "its certificate is trusted"
        login = ", the login is right" if settings.user and settings.password else ""
        return f"{self._shown} takes our recipients, {secured}{login}; no mail was sent"

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        settings = self._settings
        mail = composed(message, settings.sender, settings.to, self._clock.now())

        def hand_over(server: smtplib.SMTP) -> dict[str, Any]:
            return server.send_message(mail, settings.sender, list(settings.to))

        if refused := self._session("send to", hand_over):
            # The others have it: sending it again would give it to them twice.
            logger.warning("%s refused %s, and took it for the rest", self._shown, sorted(refused))
        return str(mail["Message-ID"])

    @property
    def _shown(self) -> str:
        return f"mail server {self._settings.host}:{self._settings.port}"

    def _offered(self, server: smtplib.SMTP) -> list[str]:
        """The recipients it would refuse; nothing is sent to the others."""
        code, said = server.mail(self._settings.sender)
        if code >= 400:
            raise smtplib.SMTPSenderRefused(code, said, self._settings.sender)
        refused = [each for each in self._settings.to if server.rcpt(each)[0] >= 400]
        server.rset()
        return refused

    def _session(self, action: str, step: Callable[[smtplib.SMTP], T]) -> T:
        line = _Line()
        seen = f"{action} {self._shown}"
        try:
            return within(self._seconds, lambda: self._carried_out(line, step), give_up=line.cut)
        except TimeoutError:
            trouble: Exception = ChannelUnavailable(f"{seen}: no answer within {self._seconds:g} s")
        except (OSError, ValueError) as error:  # smtplib's are OSErrors
            trouble = error_of(seen, error)
        raise trouble

    def _carried_out(self, line: "_Line", step: Callable[[smtplib.SMTP], T]) -> T:
        try:
            return self._spoken(_Server(self._settings, line, self._seconds), step)
        finally:
            line.cut()

    def _spoken(self, server: smtplib.SMTP, step: Callable[[smtplib.SMTP], T]) -> T:
        settings = self._settings
        try:
            server.ehlo_or_helo_if_needed()
            if settings.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if settings.user and settings.password is not None:
                server.login(settings.user, settings.password.reveal())
            done = step(server)
            with suppress(smtplib.SMTPException, OSError):
                server.putcmd("quit")  # its answer changes nothing, and is not waited for
            return done
        finally:
            server.close()


class _Line:
    """The connection below, which can be cut from another thread, also amid a handshake."""

    def __init__(self) -> None:
        self._held: socket.socket | None = None
        self._is_cut = False

    def hold(self, connection: socket.socket) -> None:
        self._held = connection.dup()
        if self._is_cut:
            raise TimeoutError

    def cut(self) -> None:
        self._is_cut = True
        if self._held is not None:
            with suppress(OSError):
                self._held.shutdown(socket.SHUT_RDWR)
            self._held.close()


class _Server(smtplib.SMTP):
    """A session whose connection is held by a line."""

    def __init__(self, settings: Email, line: _Line, seconds: float) -> None:
        self._line = line
        self._from_the_first_byte = settings.tls == "tls"
        # A name for EHLO, because the default one asks the name server, which may take long.
        domain = settings.sender.rpartition("@")[2].encode("idna").decode()
        super().__init__(settings.host, settings.port, local_hostname=domain, timeout=seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        self._line.hold(connection)
        if self._from_the_first_byte:
            return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        return connection
