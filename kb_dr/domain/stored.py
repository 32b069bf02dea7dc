"""What a repository says of one object."""

from dataclasses import dataclass
from datetime import UTC, datetime

NO_END = datetime(9999, 12, 31, tzinfo=UTC)
"""Until when an object under legal hold is retained: until somebody lifts the hold."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One immutable object whose bytes are known."""

    key: str
    size_bytes: int
    sha256: str
    """Lower-case hex digest of the stored bytes; empty when put() was not asked for it."""
    md5: str
    """Lower-case hex digest of the stored bytes, for a store whose ETag it is; else empty."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One object as a listing names it: present, its bytes not looked at."""

    key: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class HiddenObject:
    """An object behind a delete marker: its bytes are there, and every read says missing."""

    key: str
    hidden_at: datetime
