"""A year of backups with hourly increments, daily full ones and a proof each Sunday; what stays was
worked out on paper. The year ends behind a leap day.
"""

from datetime import datetime, timedelta
from functools import cache

from kb_dr.domain.plan_retention import plan_retention
from kb_dr.domain.plan_wal_retention import wal_boundaries
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, RetentionPlan
from kb_dr.domain.retention_policy import RetentionPolicy, Tier
from kb_dr.domain.retention_table import retention_rows
from kb_dr_tests.made_candidates import at, full, incremental, kept

BEGIN, END = at("2027-03-01 02:00"), at("2028-03-01 12:30")
PROVEN, UNPROVEN = Standing.PROVEN, Standing.UNPROVEN
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@cache
def year() -> tuple[Candidate, ...]:
    """A full backup each day at two, an incremental one at every other hour, in one chain a day.

    Of each Sunday the full one is proven.
    """
    made: list[Candidate] = []
    moment = BEGIN
    while moment <= END:
        if moment.hour == 2:
            made.append(full(moment, PROVEN if moment.weekday() == 6 else UNPROVEN))
        else:
            made.append(incremental(moment, made[-1]))
        moment += HOUR
    return tuple(made)


def plan(now: datetime, backups: tuple[Candidate, ...]) -> RetentionPlan:
    """What becomes of those that are there by then."""
    here = [each for each in backups if each.finished <= now]
    return plan_retention(here, RetentionPolicy(), now, copy="primary", url="s3://b")


def serving(made: RetentionPlan, tier: Tier) -> list[str]:
    """When the backups were taken that serve a tier."""
    return [f"{e.started:%Y-%m-%d %H}" for e in made.decisions if tier in e.tiers]


DAILY = ["2028-01-31 02", *(f"2028-02-{day:02} 02" for day in range(1, 30)), "2028-03-01 02"]
WEEKLY = [
    *(f"2027-12-{day:02} 02" for day in (5, 12, 19, 26)),
    *(f"2028-01-{day:02} 02" for day in (2, 9, 16, 23, 30)),
    *(f"2028-02-{day:02} 02" for day in (6, 13, 20, 27)),
]
MONTHLY = [
    *(f"2027-{month:02}-01 02" for month in range(3, 13)),
    *(f"2028-{month:02}-01 02" for month in (1, 2, 3)),
]
QUARTERLY = ["2027-03-01 02", "2027-04-01 02", "2027-07-01 02", "2027-10-01 02", "2028-01-01 02"]
HOURLY = [
    *(f"2028-02-29 {hour:02}" for hour in range(12, 24)),
    *(f"2028-03-01 {hour:02}" for hour in range(13)),
]
OWED = [
    # Older than 24 hours, but the newest proof is of Sunday the 27th: nothing newer is proven.
    *(f"2028-02-27 {hour:02}" for hour in range(2, 24)),
    *(f"2028-02-28 {hour:02}" for hour in range(24)),
    *(f"2028-02-29 {hour:02}" for hour in range(12)),
]


def test_each_tier_serves_what_was_worked_out_by_hand() -> None:
    made = plan(END, year())

    assert serving(made, Tier.HOURLY) == HOURLY
    assert serving(made, Tier.DAILY) == DAILY
    assert serving(made, Tier.WEEKLY) == WEEKLY
    assert serving(made, Tier.MONTHLY) == MONTHLY
    assert serving(made, Tier.QUARTERLY) == QUARTERLY
    stays = {*HOURLY, *DAILY, *WEEKLY, *MONTHLY, *QUARTERLY, *OWED}
    assert {f"{e.started:%Y-%m-%d %H}" for e in made.decisions if e.keep} == stays
    assert len(kept(made)) == 130


def test_a_proof_lets_the_hourly_tier_go_down_to_a_day() -> None:
    proven = full("2028-03-01 02:00", PROVEN)
    backups = tuple(proven if each.id == proven.id else each for each in year())

    made = plan(END, backups)

    # What hour 12 of the 29th is built upon stays with it.
    chain = [f"2028-02-29 {hour:02}" for hour in range(2, 12)]
    stays = {*HOURLY, *DAILY, *WEEKLY, *MONTHLY, *QUARTERLY, *chain}
    assert {f"{e.started:%Y-%m-%d %H}" for e in made.decisions if e.keep} == stays


def test_retention_every_day_ends_where_one_at_the_end_does() -> None:
    by_id = {each.id: each for each in year()}
    gone: set[str] = set()
    now = BEGIN + DAY
    while now < END:
        here = tuple(each for name, each in by_id.items() if name not in gone)
        gone |= {each.id for each in plan(now, here).expire}
        now += 3 * DAY
    left = tuple(each for name, each in by_id.items() if name not in gone)

    assert kept(plan(END, left)) == kept(plan(END, year()))


def test_wal_of_the_year_stays_from_a_week_before_the_oldest_daily_backup() -> None:
    made = plan(END, year())

    found = wal_boundaries(made, year(), RetentionPolicy())

    assert found.young_since == at("2028-01-24 02:00")
    assert found.why == "7 days before 2028-01-31 02:00:00Z, the oldest retained daily backup"


def test_ten_thousand_backups_all_have_their_reason() -> None:
    begin = at("2027-03-01 00:00")
    long = tuple(
        full(begin + each * HOUR, PROVEN if each % (24 * 7) == 6 * 24 else UNPROVEN)
        for each in range(10_000)
    )

    made = plan(begin + 10_001 * HOUR, long)

    assert len(made.decisions) == 10_000
    assert all(row.why for row in retention_rows(made))
    assert len(kept(made)) < 300
