"""A change to the alerts as a record in a repository, while no database keeps them."""

from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.alert_book import Changes


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One step, or (to save reading) all of those before it added up."""

    schema_version: int
    id: str
    """Begins with the time, ``YYYYMMDD-HHMMSS-…``."""
    at: datetime
    host: str
    changes: Changes
