"""Holds: backups that nobody may purge until somebody says otherwise."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HoldAction(StrEnum):
    """What one record of a hold says."""

    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class HoldEvent:
    """One record: a backup is held from here on, or some of its holds are over."""

    schema_version: int
    id: str
    """Begins with the time, ``YYYYMMDD-HHMMSS-…``."""
    backup_id: str
    action: HoldAction
    at: datetime
    reason: str
    host: str
    releases: tuple[str, ...] = ()
    """Of a release: the ids of the holds it ends, by name, so that it ends none made later or
    elsewhere that nobody had seen."""


def holds_in_force(events: Iterable[HoldEvent]) -> tuple[HoldEvent, ...]:
    """The holds no release has named, oldest first. Order of time plays no part: clocks differ."""
    seen = tuple(events)
    released = {
        name for each in seen if each.action is HoldAction.RELEASE for name in each.releases
    }
    found = [each for each in seen if each.action is HoldAction.HOLD and each.id not in released]
    return tuple(sorted(found, key=lambda each: (each.at, each.id)))
