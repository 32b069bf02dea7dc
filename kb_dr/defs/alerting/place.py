"""How far the alert sensor has read, and what it handed in as broken. Its cursor."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Broken:
    """The newest notice that called a condition broken."""

    notice_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Written when what was read up to here was taken, never before."""

    at: datetime
    """When it was last written."""
    up_since: datetime
    """Since when it is written without a long pause."""
    read: Mapping[str, int] = field(default_factory=dict)
    """Type of event to the newest one read, by its id in the event log."""
    seen: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Type of event to those read of the newest ones: ids become visible out of order."""
    broken: Mapping[str, Broken] = field(default_factory=dict)
    """Condition to what was handed in of it, while it lasts."""
    watched_at: datetime | None = None
    """The newest watch that was noted as complete, and told of."""


def write_place(place: Place) -> str:
    """As a cursor."""
    return json.dumps(
        {
            "version": _VERSION,
            "at": place.at.timestamp(),
            "up_since": place.up_since.timestamp(),
            "read": dict(place.read),
            "seen": {name: list(ids) for name, ids in place.seen.items()},
            "broken": {
                key: [each.notice_id, each.at.timestamp()] for key, each in place.broken.items()
            },
            "watched_at": place.watched_at and place.watched_at.timestamp(),
        }
    )


def read_place(cursor: str | None) -> Place | None:
    """None at the first start, and for what cannot be read: both begin with the present."""
    try:
        found: Any = json.loads(cursor or "")
        if found["version"] != _VERSION:
            return None
        return Place(
            at=_instant(found["at"]),
            up_since=_instant(found["up_since"]),
            read={str(name): int(last) for name, last in found["read"].items()},
            seen={str(name): tuple(map(int, ids)) for name, ids in found["seen"].items()},
            broken={
                str(key): Broken(str(each[0]), _instant(each[1]))
                for key, each in found["broken"].items()
            },
            watched_at=_instant(found["watched_at"]) if found.get("watched_at") else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return None


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
