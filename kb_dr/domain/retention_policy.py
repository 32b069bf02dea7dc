"""How long backups are kept: the grandfather-father-son tiers, as settings give them."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Tier(StrEnum):
    """Why a backup is kept as time goes by; one backup may serve several."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What one copy keeps. The defaults are those of K1 and K2."""

    hourly_hours: int = 24
    daily_days: int = 30
    weekly_weeks: int = 12
    monthly_months: int = 12
    quarterly_years: int = 7
    wal_days: int = 7
    """WAL is kept this much longer than the oldest retained daily backup."""
    undelete_days: int = 7
    """How long an expired backup can be brought back before its objects go."""

    @property
    def longest(self) -> timedelta:
        """An age nothing is kept beyond, holds and proofs aside: a bound for lifecycle rules.

        A tier keeps what its whole period is too old for, so each has one period on top.
        """
        spans = (
            timedelta(hours=self.hourly_hours + 1),
            timedelta(days=self.daily_days + 1),
            timedelta(weeks=self.weekly_weeks + 1),
            timedelta(days=31 * (self.monthly_months + 1)),
            timedelta(days=366 * self.quarterly_years + 92),
        )
        return max(spans)
