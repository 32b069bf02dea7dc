"""What to recover to. Each kind of target is a value of its own type.

Source: PostgreSQL docs, "Recovery Target"; src/backend/access/transam/xlogrecovery.c
(recoveryStopsBefore, recoveryStopsAfter).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_records import StopRule

LONGEST_NAME = 63
"""Bytes of a restore point's name (MAXFNAMELEN less its end)."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The end of the archived WAL."""

    def __str__(self) -> str:
        return "latest"


@dataclass(frozen=True, slots=True)
class AtTime:
    """What was committed by a moment: replay stops before the first that ended later."""

    at: datetime
    """Aware, in UTC."""
    inclusive: bool = True
    """Whether what was committed at this very microsecond belongs to it."""

    def __str__(self) -> str:
        text = self.at.isoformat(sep=" ").replace("+00:00", "Z")
        return f"time {text}" if self.inclusive else f"just before time {text}"


@dataclass(frozen=True, slots=True)
class AtLsn:
    """A position: replay stops behind the first record that begins there or later."""

    lsn: Lsn
    inclusive: bool = True
    """Whether that record itself is replayed."""

    def __str__(self) -> str:
        return f"LSN {self.lsn}" if self.inclusive else f"just before LSN {self.lsn}"


@dataclass(frozen=True, slots=True)
class AtName:
    """A restore point, by the name pg_create_restore_point() was given."""

    name: str

    def __str__(self) -> str:
        return f"restore point {self.name}"


PointTarget = AtTime | AtLsn | AtName
"""A place in the WAL that replay stops at."""

RecoveryTarget = Latest | PointTarget


def parse_time(text: str, *, inclusive: bool = True) -> AtTime:
    """Read ``2026-11-20T02:03:04Z`` or another form of ISO 8601 with its zone.

    Raises ValueError for anything else: a time without a zone means another moment to each reader.
    """
    try:
        at = datetime.fromisoformat(text.strip().replace(" UTC", "Z"))
    except ValueError:
        raise ValueError(f"not a time: {text!r}, expected the form 2026-11-20T02:03:04Z") from None
    if at.tzinfo is None:
        raise ValueError(
            f"a time without a zone: {text!r}, expected {at.isoformat()}Z for UTC, or an offset "
            f"as in {at.isoformat()}+01:00"
        )
    try:
        return AtTime(at.astimezone(UTC), inclusive)
    except OverflowError:
        raise ValueError(f"not a time: {text!r}, expected a year between 1 and 9999 UTC") from None


def parse_name(text: str) -> AtName:
    """Read the name of a restore point; ValueError where PostgreSQL could not have taken it."""
    if not text or len(text.encode()) > LONGEST_NAME or not text.isprintable():
        raise ValueError(
            f"not the name of a restore point: {text!r}, expected 1 to 63 printable bytes"
        )
    return AtName(text)


def stop_rule(target: PointTarget, *, begin: Lsn = Lsn(0)) -> StopRule:  # noqa: B008 - frozen
    """The rule by which a reader of WAL stops where PostgreSQL would, from ``begin`` on."""
    match target:
        case AtTime():
            return StopRule(begin, at=target.at, inclusive=target.inclusive)
        case AtLsn():
            return StopRule(begin, lsn=target.lsn, inclusive=target.inclusive)
        case AtName():
            return StopRule(begin, name=target.name)


def recovery_target_settings(target: PointTarget) -> dict[str, str]:
    """The same target as PostgreSQL is told it; it opens there, or fails."""
    match target:
        case AtTime():
            name, value = "time", target.at.isoformat(sep=" ", timespec="microseconds")
            inclusive = target.inclusive
        case AtLsn():
            name, value, inclusive = "lsn", str(target.lsn), target.inclusive
        case AtName():
            name, value, inclusive = "name", target.name, True
    return {
        f"recovery_target_{name}": value,
        "recovery_target_inclusive": "on" if inclusive else "off",
        "recovery_target_action": "promote",
    }
