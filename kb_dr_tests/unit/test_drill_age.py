"""Drills of late: one that is too old, was not passed, or was of another place, is believed by no
one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.domain.drill import Drill
from kb_dr.domain.drill_age import judge_drills
from kb_dr.domain.proof import Outcome, Verdict, Void
from kb_dr_tests.made_drills import made_drill

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = 86400.0
PLACES = {"primary": "memory://primary", "offsite": "memory://offsite"}


def days_ago(days: float, copy: str = "offsite", verdict: Verdict = Verdict.PROVEN) -> Drill:
    return made_drill(
        NOW - timedelta(days=days), copy=copy, url=f"memory://{copy}", verdict=verdict
    )


def outcome(*drills: Drill, void: Void | None = None) -> Outcome:
    return judge_drills(drills, PLACES, NOW, 100 * DAY, void_through=void).outcome


def test_one_passed_of_late_is_enough() -> None:
    assert outcome(days_ago(99)) is Outcome.PASSED
    assert outcome(days_ago(300), days_ago(2, "primary")) is Outcome.PASSED


def test_none_at_all_is_not_good() -> None:
    held = judge_drills([], PLACES, NOW, 100 * DAY)

    assert not held.good
    assert held.seen == "no drill has been run"


@pytest.mark.parametrize("days", [101, -1])
def test_too_long_ago_and_in_the_future_are_red(days: float) -> None:
    assert outcome(days_ago(days)) is Outcome.FAILED


def test_a_limit_that_is_no_number_passes_nothing() -> None:
    assert not judge_drills([days_ago(1)], PLACES, NOW, float("nan")).good


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.NOT_PROVEN])
def test_the_newest_of_a_copy_was_not_passed(verdict: Verdict) -> None:
    assert outcome(days_ago(5), days_ago(3, verdict=verdict)) is Outcome.FAILED
    assert outcome(days_ago(3, verdict=verdict), days_ago(2)) is Outcome.PASSED


def test_a_drill_of_the_other_copy_makes_up_for_nothing() -> None:
    held = judge_drills(
        [days_ago(3, "offsite", Verdict.FAILED), days_ago(1, "primary")], PLACES, NOW, 100 * DAY
    )

    assert held.outcome is Outcome.FAILED
    assert "offsite" in held.seen


def test_a_green_of_another_place_is_none_and_a_red_is_one() -> None:
    elsewhere = made_drill(NOW - timedelta(days=1), url="memory://replaced since")
    red = made_drill(NOW - timedelta(days=1), url="memory://x", verdict=Verdict.FAILED)

    assert not judge_drills([elsewhere], PLACES, NOW, 100 * DAY).good
    assert outcome(days_ago(2), red) is Outcome.FAILED


def test_a_copy_there_is_no_more_says_nothing() -> None:
    gone = judge_drills([days_ago(1)], {"primary": "memory://primary"}, NOW, 100 * DAY)

    assert gone.outcome is Outcome.COULD_NOT_RUN


def test_what_rests_on_void_proofs_is_not_believed() -> None:
    assert outcome(days_ago(5), void=Void(NOW - timedelta(days=4))) is Outcome.FAILED
    assert outcome(days_ago(3), void=Void(NOW - timedelta(days=4))) is Outcome.PASSED


def test_a_drill_on_a_host_that_is_blind_still_is_not_believed() -> None:
    there = Void(NOW - timedelta(days=9), {"drill-host": NOW - timedelta(days=4)})

    assert outcome(days_ago(5), void=there) is Outcome.FAILED
    assert outcome(replace(days_ago(5), host="here"), void=there) is Outcome.PASSED
