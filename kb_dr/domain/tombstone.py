"""Tombstones: what became of a backup in one copy after retention let go of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PurgeStep(StrEnum):
    """What one record says was done, or is about to be."""

    EXPIRED = "expired"
    """Its manifest goes after this record stands: it is no backup any more, its objects are there
    still, and the manifest can be put back."""
    UNDELETED = "undeleted"
    """Its manifest was put back."""
    PURGED = "purged"
    """Its objects are gone."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One step on the way out, or back. Appended, never rewritten."""

    schema_version: int
    id: str
    """Begins with the time, ``YYYYMMDD-HHMMSS-…``; later than that of every older step."""
    backup_id: str
    copy: str
    """The copy it happened in; other copies keep theirs by their own policy."""
    step: PurgeStep
    at: datetime
    reason: str
    host: str
    digest: str
    """Of the manifest."""
    manifest: str = ""
    """The manifest's very text, of an EXPIRED step: what brings the backup back, and what tells
    which objects are to go."""


def latest_step(steps: Iterable[Tombstone]) -> Tombstone | None:
    """Where one backup stands in one copy; None when it was never let go of."""
    return max(steps, key=lambda each: (each.at, each.id), default=None)
