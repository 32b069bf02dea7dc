"""The periods of the tiers: hours, days, weeks from Sunday, months and quarters, all of UTC.

A period lives as long as any part of it is younger than what the policy gives its tier: with
daily backups for 30 days there is always one to recover from that is 30 days old.
"""

from datetime import UTC, datetime, timedelta

from kb_dr.domain.retention_policy import RetentionPolicy, Tier

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LENGTHS = {
    Tier.HOURLY: timedelta(hours=1),
    Tier.DAILY: timedelta(days=1),
    Tier.WEEKLY: timedelta(weeks=1),
}
_MONTHS = {Tier.MONTHLY: 1, Tier.QUARTERLY: 3}


def period_start(tier: Tier, moment: datetime) -> datetime:
    """The anchor of the period a moment lies in; ``moment`` must have a zone."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if tier is Tier.HOURLY:
        return hour
    day = hour.replace(hour=0)
    if tier is Tier.DAILY:
        return day
    if tier is Tier.WEEKLY:
        since_sunday = timedelta(days=(day.weekday() + 1) % 7)
        return day - since_sunday if day - _EARLIEST >= since_sunday else _EARLIEST
    months = _MONTHS[tier]
    return day.replace(day=1, month=day.month - (day.month - 1) % months)


def period_end(tier: Tier, start: datetime) -> datetime:
    """The first moment after the period that begins at ``start``."""
    if tier in _LENGTHS:
        return start + _LENGTHS[tier]
    return _months_later(start, _MONTHS[tier])


def kept_since(tier: Tier, policy: RetentionPolicy, now: datetime) -> datetime | None:
    """A period of this tier lives when it ends after this moment; None: the tier keeps nothing."""
    moment = now.astimezone(UTC)
    spans = {
        Tier.HOURLY: timedelta(hours=policy.hourly_hours),
        Tier.DAILY: timedelta(days=policy.daily_days),
        Tier.WEEKLY: timedelta(weeks=policy.weekly_weeks),
    }
    if tier in spans:
        span = spans[tier]
        if span <= timedelta(0):
            return None
        return moment - span if moment - _EARLIEST > span else _EARLIEST
    # Which day of the month it is plays no part: the whole period lives, or none of it.
    months = policy.monthly_months if tier is Tier.MONTHLY else 12 * policy.quarterly_years
    return _months_later(period_start(tier, moment), -months) if months > 0 else None


def period_name(tier: Tier, start: datetime) -> str:
    """A period for people: daily of 2026-11-20, quarterly of 2026-Q4."""
    if tier is Tier.HOURLY:
        written = f"{start:%Y-%m-%d %H:00}"
    elif tier is Tier.MONTHLY:
        written = f"{start:%Y-%m}"
    elif tier is Tier.QUARTERLY:
        written = f"{start:%Y}-Q{(start.month + 2) // 3}"
    else:
        written = f"{start:%Y-%m-%d}"
    return f"{tier} of {written}"


def span_name(tier: Tier, policy: RetentionPolicy) -> str:
    """How long a tier keeps, for people: 24 hours."""
    count, unit = {
        Tier.HOURLY: (policy.hourly_hours, "hour"),
        Tier.DAILY: (policy.daily_days, "day"),
        Tier.WEEKLY: (policy.weekly_weeks, "week"),
        Tier.MONTHLY: (policy.monthly_months, "month"),
        Tier.QUARTERLY: (policy.quarterly_years, "year"),
    }[tier]
    return f"{count} {unit}" + ("" if count == 1 else "s")


def _months_later(start: datetime, months: int) -> datetime:
    """The first of the month so many months after a first of a month."""
    years, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start.replace(year=years, month=month + 1) if years > 0 else _EARLIEST
