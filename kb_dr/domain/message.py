"""Messages: what a channel is given to show, in no channel's own language."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kb_dr.domain.severity import Severity


class What(StrEnum):
    """Why a message is sent."""

    OPENED = "opened"
    WORSE = "worse"
    """Of a higher severity than before, or more of it is broken."""
    ESCALATED = "escalated"
    """It lasts, and nobody has acknowledged it."""
    REMINDER = "reminder"
    ACKNOWLEDGED = "acknowledged"
    RECOVERED = "recovered"
    TOLD = "told"
    """No alert: a success, the weekly digest, a test."""
    GROUPED = "grouped"
    """Many at once, one line each."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one channel."""

    id: str
    """The same however often it is tried: a channel that can, shows it once."""
    dedup_key: str
    """The condition's key: all messages of one alert bear it."""
    what: What
    kind: str
    """One of alert_kinds.KINDS."""
    severity: Severity
    service: str
    title: str
    """One line: what is the matter."""
    happened: str
    """What was seen."""
    means: str
    """What it means for recoverability."""
    do: str
    """What to do first."""
    at: datetime
    """When what it tells of happened."""
    alert_id: str = ""
    """For `kb-dr alerts ack`; empty when there is nothing to acknowledge."""
    opened_at: datetime | None = None
    lasted_seconds: float | None = None
    """How long it has been broken, or was."""
    seen_well: bool = True
    """Of one that is RECOVERED; False: somebody closed it, or nobody looks at it any more."""
    runbook_url: str = ""
    """The section on this kind; an address, or the path of the document."""
    run_url: str = ""
    """The run in Dagster's pages; empty when they have no address."""
    facts: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
    """Of a group or a digest: one thing each, the worst first."""
