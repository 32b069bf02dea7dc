"""Which stored objects are read again today, so that all bytes are read each month.

Every object belongs to one of SLICES by its key alone. A report reads the slices whose turn it
is; the turn of one that was missed comes next.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

SLICES = 30
"""One a day: every byte is read again within so many days."""

_DAY = timedelta(days=1)


def slice_of(key: str) -> int:
    """The slice an object belongs to, 0 to SLICES - 1; always the same one."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % SLICES


def due_slices(last_read: Mapping[int, datetime], now: datetime) -> tuple[int, ...]:
    """The slices to read now: one for each day since the last were read, the longest unread first.

    The first report of all reads one. After a month without, all are due. What was read in the
    future, by a clock that was wrong, counts as never read.
    """
    known = {number: at for number, at in last_read.items() if at <= now}
    newest = max(known.values(), default=None)
    # Reports do not come at the same minute each day: three quarters of a day make one.
    days = 1 if newest is None else int((now - newest + _DAY / 4) / _DAY)
    order = sorted(
        range(SLICES), key=lambda number: (number in known, known.get(number, now), number)
    )
    return tuple(order[: max(0, min(days, SLICES))])


def unread_since(last_read: Mapping[int, datetime]) -> datetime | None:
    """Every byte has been read at or after this moment; None while some slice never was."""
    if len(last_read) < SLICES:
        return None
    return min(last_read.values())
