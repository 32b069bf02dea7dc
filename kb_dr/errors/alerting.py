"""90 to 99: alerts and the channels they leave by."""

from kb_dr.errors.base import KbDrError


class AlertError(KbDrError):
    """Alerts could not be kept, read or sent as asked."""

    exit_code = 90
    default_hint = "`kb-dr alerts list` shows what waits; `kb-dr alerts test` tries each channel."


class ChannelUnavailable(AlertError):
    """A channel does not answer, or asked us to come back later."""

    exit_code = 91
    retryable = True
    default_hint = "It is tried again by itself; the other channels are not held up."

    def __init__(
        self, message: str, *, hint: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class ChannelRefused(AlertError):
    """A channel answered, and refuses us: a token, an address or a right is wrong."""

    exit_code = 92
    default_hint = "Mend its setting; `kb-dr doctor` tries every channel."


class MessageRefused(AlertError):
    """A channel takes messages, and not this one."""

    exit_code = 93
    default_hint = "`kb-dr alerts list` shows what it was to say."


class OutboxUnavailable(AlertError):
    """The database that keeps the alerts does not answer, or cannot be used."""

    exit_code = 94
    retryable = True
    default_hint = "Alerts go out without it, and are noted when it is back; docs/monitoring.md."
