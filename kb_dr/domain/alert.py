"""Alerts: one for each condition, as long as it lasts, however often it is noticed."""

from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition somebody has to know of, or (closed from the start) something told once."""

    id: str
    """Made of the notice that opened it: two that took the same notice speak of one alert."""
    key: str
    """Of the condition: at most one alert of a key is open."""
    kind: str
    severity: Severity
    """The worst it has been: it never falls while the alert lasts."""
    title: str
    seen: str
    """What was seen last."""
    means: str
    do: str
    opened_at: datetime
    last_seen_at: datetime
    """When the newest notice of it happened. What is older changes nothing any more."""
    severe_at: datetime
    """Since when it is of this severity."""
    told_at: datetime
    """When people were last told of it."""
    subjects: tuple[str, ...] = ()
    """All that have been broken since it opened."""
    run_id: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    times: int = 1
    """How often it was noticed."""
    closed_at: datetime | None = None
    closed_by: str = ""
    """Who closed it; empty: it mended."""
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    note: str = ""
    escalated_at: datetime | None = None
    told: tuple[str, ...] = ()
    """The channels that got, or will get, the news that it is open."""
    messages: int = 0
    """How many messages it has led to: the number of the last one."""
    version: int = 1
    """Grows with each change: of two that differ the higher one is the later."""
    is_told_once: bool = False
    """Whether it is no condition: a success, a digest."""
    folded_into: str = ""
    """The alert of the same key that this one turned out to be, when two stores had opened one."""

    @property
    def open(self) -> bool:
        """Whether it lasts."""
        return self.closed_at is None

    @property
    def lasted_seconds(self) -> float | None:
        """From open to closed; None while it lasts. Never negative, whatever clocks did."""
        if self.closed_at is None:
            return None
        return max(0.0, (self.closed_at - self.opened_at).total_seconds())
