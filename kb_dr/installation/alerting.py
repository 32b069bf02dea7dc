"""What is taken into the outbox, and what leaves it."""

from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain.alert import Alert
from kb_dr.domain.notice import Notice


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of notices."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was sent."""


class Alerting:
    """Verbs of the outbox."""

    def take(self, notices: Sequence[Notice]) -> Taken:
        """Take notices in, each once."""
        return Taken()

    def deliver(self, *, seconds: float) -> Delivered:
        """Send what is due, within so much time."""
        return Delivered()

    def alerts(self, *, all: bool = False) -> tuple[Alert, ...]:  # noqa: A002 - as on the shell
        """What is broken; with ``all`` also what was."""
        return ()
