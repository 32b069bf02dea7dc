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


class CloudWatchUnavailable(AlertError):
    """Amazon CloudWatch does not answer, or asked us to come back later."""

    exit_code = 97
    retryable = True
    default_hint = "No backup waits for it; what is missing there is put by the next look."


class CloudWatchRefused(AlertError):
    """Amazon CloudWatch answered, and refuses us: keys or a right are wrong."""

    exit_code = 98
    default_hint = "docs/monitoring.md lists the rights it takes; keys come from the AWS chain."
