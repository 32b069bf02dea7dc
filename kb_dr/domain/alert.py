"""Alerts: what is broken, since when, and who knows of it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Alert:
    """One condition that somebody has to know of, while it lasts and after."""

    id: str
    key: str
    last_seen_at: datetime
