"""How moments, durations and sizes are written for people, the same on a terminal and on a page."""

from collections.abc import Sequence
from datetime import datetime


def age(seconds: float | None) -> str:
    """A duration as people say it: 12 s, 3.5 min, 2.1 h, 4.0 d."""
    if seconds is None:
        return "not known"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400:.1f} d"


def moment(value: datetime | None) -> str:
    """A time in UTC, to the second."""
    return value.strftime("%Y-%m-%d %H:%M:%SZ") if value else "-"


def size(count: float | None) -> str:
    """A size in binary units."""
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def first_few(lines: Sequence[str], most: int = 8) -> tuple[str, ...]:
    """The first of them, and how many more there are: one lost parent has many children."""
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[:most], f"and {len(lines) - most} more")
