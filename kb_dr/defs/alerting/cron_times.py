"""When a schedule was due: in UTC, by its cron line."""

from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile

from cronsim import CronSim

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def last_due(cron: str, now: datetime) -> datetime | None:
    """The newest time it was due, not after ``now``; None for one that never is.

    CronSimError for a line that is none.
    """
    # Backwards from a whole second CronSim would leave that second out.
    start = now.replace(microsecond=now.microsecond or 1)
    return next(CronSim(_spelled(cron), start, reverse=True), None)


def due_between(cron: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Each time it was due after one moment, up to and with another."""
    return takewhile(lambda each: each <= until, CronSim(_spelled(cron), after))


def _spelled(cron: str) -> str:
    return NICKNAMES.get(cron.strip(), cron)
