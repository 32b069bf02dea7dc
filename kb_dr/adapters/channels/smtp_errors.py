"""What goes wrong with a mail server, as ours; what the server wrote is not shown."""

import smtplib
import ssl

from kb_dr.adapters.channels.http_call import harmless
from kb_dr.errors import AlertError, ChannelRefused, ChannelUnavailable, MessageRefused

_TRUST = (
    "Trust the authority that signed it, in the system's store or by SSL_CERT_FILE; "
    "nothing is sent where the certificate is not trusted."
)
_LOGIN = "Are KB_DR_SMTP_USER and KB_DR_SMTP_PASSWORD right?"


def error_of(action: str, error: OSError | ValueError) -> AlertError:
    """RFC 5321, 4.2.1: a code of 4xx may pass by itself, one of 5xx does not."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        worst = max(codes, default=550)
        return _by_code(action, worst, "it refuses every recipient", "Mend KB_DR_EMAIL_TO.")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return ChannelRefused(
            f"{action}: it offers no STARTTLS, no login, or no such address",
            hint="KB_DR_SMTP_TLS is starttls or tls, as its port asks for.",
        )
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return _by_code(action, error.smtp_code, "it refuses the login", _LOGIN)
    if isinstance(error, smtplib.SMTPSenderRefused):
        return _by_code(action, error.smtp_code, "it refuses the sender",
                        f"Mend KB_DR_EMAIL_FROM. {_LOGIN}")  # fmt: skip
    if isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500:
        return MessageRefused(f"{action}: code {error.smtp_code}, it refuses the mail")
    if isinstance(error, smtplib.SMTPResponseException):
        return _by_code(action, error.smtp_code, "it refuses us", "Is KB_DR_SMTP_HOST right?")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return ChannelUnavailable(f"{action}: the connection broke")
    if isinstance(error, ssl.SSLCertVerificationError):
        return ChannelRefused(f"{action}: {harmless(error)}", hint=_TRUST)
    if isinstance(error, ValueError):
        return ChannelRefused(f"{action}: a login or an address it cannot be told", hint=_LOGIN)
    return ChannelUnavailable(f"{action}: {harmless(error)}")


def _by_code(action: str, code: int, seen: str, hint: str) -> AlertError:
    text = f"{action}: code {code}, {seen}"
    return ChannelUnavailable(text) if code < 500 else ChannelRefused(text, hint=hint)
