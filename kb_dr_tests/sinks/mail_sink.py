"""A mail server with TLS and a login."""

import asyncio
import email
import email.policy
import socket
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from kb_dr_tests.sinks.answers import How, Programmed
from kb_dr_tests.sinks.certificates import Certificates

USER = "kb-dr@localhost"
PASSWORD = "hush-smtp-password-0123456789"

_TRIES = 5
_DRIP_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """One mail as it was taken."""

    sender: str
    to: tuple[str, ...]
    message: EmailMessage
    tls: bool

    @property
    def text(self) -> str:
        """Its plain part."""
        part = self.message.get_body(("plain",))
        return str(part.get_content()) if part is not None else ""

    @property
    def html(self) -> str:
        """Its HTML part."""
        part = self.message.get_body(("html",))
        return str(part.get_content()) if part is not None else ""


class MailSink(Programmed[ReceivedMail]):
    """A mail server; answers are given to the mail itself, after its last line.

    ``tls``: ``starttls``, ``tls`` (from the first byte) or ``off``; the first two need
    certificates. ``password`` None: no login. ``refused``: recipients it answers 550.
    """

    def __init__(
        self,
        certificates: Certificates | None = None,
        *,
        tls: str = "off",
        user: str = USER,
        password: str | None = None,
    ) -> None:
        super().__init__()
        self.tls, self.user, self.password = tls, user, password
        self.refused: set[str] = set()
        self._context = certificates.server_context() if certificates else None
        self._controller: Controller | None = None
        self.port = 0

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def url(self) -> str:
        return f"smtp://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        for tried in range(_TRIES):
            self.port = _free_port()
            self._controller = self._made()
            try:
                self._controller.start()
            except OSError:
                if tried == _TRIES - 1:
                    raise
                continue  # somebody else took the port in between
            break
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self._controller is not None:
            self._controller.stop(no_assert=True)

    def _made(self) -> Controller:
        options: dict[str, Any] = {}
        if self.tls == "starttls":
            options |= {"tls_context": self._context, "require_starttls": True}
        if self.password is not None:
            options |= {
                "authenticator": self._login,
                "auth_required": True,
                "auth_require_tls": self.tls == "starttls",
            }
        return Controller(
            _Handler(self),
            hostname=self.host,
            port=self.port,
            ssl_context=self._context if self.tls == "tls" else None,
            ready_timeout=30.0,
            **options,
        )

    def _login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        right = (
            isinstance(given, LoginPassword)
            and given.login.decode() == self.user
            and given.password.decode() == self.password
        )
        return AuthResult(success=right, handled=False)


class _Handler:
    """What the server asks at each step."""

    def __init__(self, sink: MailSink) -> None:
        self._sink = sink

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._sink.refused:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        sink = self._sink
        answer = sink.take_answer()
        if answer.how is How.STATUS:
            return f"{answer.code} {answer.body or 'as programmed'}"
        if answer.how is How.HANG:
            while not sink.over.is_set():
                await asyncio.sleep(0.05)
        if answer.how is How.DRIP:
            while not sink.over.is_set():
                await server.push("250-still thinking")
                await asyncio.sleep(_DRIP_SECONDS)
        if answer.how in (How.OK, How.LOSE_ANSWER):
            content = envelope.content
            raw = content if isinstance(content, bytes) else (content or "").encode()
            message = email.message_from_bytes(raw, policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            secure = session.ssl is not None or sink.tls == "tls"
            sink.take(
                ReceivedMail(
                    envelope.mail_from or "", tuple(envelope.rcpt_tos), message, tls=secure
                )
            )
        if answer.how in (How.DROP, How.LOSE_ANSWER):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return "250 OK"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
