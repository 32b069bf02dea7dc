"""The periods of the tiers are those of the calendar, in UTC, and live as long as any part does."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kb_dr.domain.retention_periods import kept_since, period_end, period_name, period_start
from kb_dr.domain.retention_policy import RetentionPolicy, Tier
from kb_dr_tests.made_candidates import at


@pytest.mark.parametrize(
    ("tier", "moment", "start", "end"),
    [
        (Tier.HOURLY, "2026-11-20 14:59:59", "2026-11-20 14:00", "2026-11-20 15:00"),
        (Tier.HOURLY, "2026-12-31 23:30", "2026-12-31 23:00", "2027-01-01 00:00"),
        (Tier.DAILY, "2028-02-29 23:59:59", "2028-02-29", "2028-03-01"),
        (Tier.DAILY, "2027-02-28 12:00", "2027-02-28", "2027-03-01"),
        (Tier.WEEKLY, "2026-11-21 23:59:59", "2026-11-15", "2026-11-22"),
        (Tier.WEEKLY, "2026-11-22 00:00", "2026-11-22", "2026-11-29"),
        (Tier.WEEKLY, "2027-01-01 05:00", "2026-12-27", "2027-01-03"),
        (Tier.WEEKLY, "2028-02-29 02:00", "2028-02-27", "2028-03-05"),
        (Tier.MONTHLY, "2028-02-29 02:00", "2028-02-01", "2028-03-01"),
        (Tier.MONTHLY, "2026-12-31 23:00", "2026-12-01", "2027-01-01"),
        (Tier.QUARTERLY, "2026-03-31 23:59", "2026-01-01", "2026-04-01"),
        (Tier.QUARTERLY, "2026-12-31 23:59", "2026-10-01", "2027-01-01"),
        (Tier.QUARTERLY, "2026-07-01 00:00", "2026-07-01", "2026-10-01"),
    ],
)
def test_a_period_begins_at_its_anchor_and_ends_where_the_next_begins(
    tier: Tier, moment: str, start: str, end: str
) -> None:
    begins = period_start(tier, at(moment))

    assert begins == at(start)
    assert period_end(tier, begins) == at(end)


def test_a_moment_is_put_where_it_lies_in_utc() -> None:
    summer = datetime(2026, 10, 25, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert period_start(Tier.DAILY, summer) == at("2026-10-24")
    assert period_start(Tier.WEEKLY, summer) == at("2026-10-18")


def test_the_first_week_of_all_is_no_error() -> None:
    begins = datetime.min.replace(tzinfo=UTC)

    assert period_start(Tier.WEEKLY, begins + timedelta(hours=3)) == begins


@pytest.mark.parametrize(
    ("tier", "since"),
    [
        (Tier.HOURLY, "2028-02-28 12:30"),
        (Tier.DAILY, "2028-01-30 12:30"),
        (Tier.WEEKLY, "2027-12-07 12:30"),
        (Tier.MONTHLY, "2027-02-01"),
        (Tier.QUARTERLY, "2021-01-01"),
    ],
)
def test_what_lives_on_a_leap_day(tier: Tier, since: str) -> None:
    assert kept_since(tier, RetentionPolicy(), at("2028-02-29 12:30")) == at(since)


@pytest.mark.parametrize("tier", list(Tier))
def test_a_tier_of_nothing_keeps_nothing(tier: Tier) -> None:
    none = RetentionPolicy(0, 0, 0, 0, 0)

    assert kept_since(tier, none, at("2026-11-27")) is None


@pytest.mark.parametrize("tier", list(Tier))
def test_a_tier_longer_than_the_calendar_keeps_everything(tier: Tier) -> None:
    longest = RetentionPolicy(10**8, 10**6, 10**6, 36500, 36500)

    assert kept_since(tier, longest, at("2026-11-27")) == datetime.min.replace(tzinfo=UTC)


def test_periods_have_names() -> None:
    names = [period_name(tier, period_start(tier, at("2026-11-20 14:05"))) for tier in Tier]

    assert names == [
        "hourly of 2026-11-20 14:00",
        "daily of 2026-11-20",
        "weekly of 2026-11-15",
        "monthly of 2026-11",
        "quarterly of 2026-Q4",
    ]


def test_nothing_a_tier_keeps_is_older_than_the_longest() -> None:
    for policy in (
        RetentionPolicy(),
        RetentionPolicy(daily_days=5000),
        RetentionPolicy(weekly_weeks=900),
        RetentionPolicy(monthly_months=400),
        RetentionPolicy(24 * 9000),
    ):
        now = at("2026-11-27 12:00")
        for tier in Tier:
            since = kept_since(tier, policy, now)
            assert since is not None
            assert now - policy.longest <= period_start(tier, since)
