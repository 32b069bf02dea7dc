"""A dead man's switch is told of a watch whose alerts reach somebody, and of no other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import dagster as dg
import pytest

from kb_dr.definitions import build_definitions
from kb_dr.defs.alerting.place import read_place, write_place
from kb_dr.defs.resources import ScheduleTimes
from kb_dr.defs.watch import POINT
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch_checks import MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr_tests.listening import Alerts, Listening


@pytest.fixture
def alerts() -> Iterator[Alerts]:
    with dg.DagsterInstance.ephemeral() as instance:
        seen = tuple(
            Watched(name, Outcome.PASSED, Severity.CRITICAL, "well") for name in MINUTE_CHECKS
        )
        listening = Listening(watched=seen)
        made = Alerts(instance, build_definitions(listening.door(), ScheduleTimes()), listening)
        made.tick()
        yield made


def test_each_whole_watch_is_noted_once(alerts: Alerts) -> None:
    assert alerts.listening.noted == []

    alerts.run("watch_job")
    alerts.tick()
    alerts.tick()
    alerts.run("watch_job")
    alerts.tick()

    first, second = alerts.listening.noted
    assert first < second


def test_a_clock_that_was_set_back_keeps_no_watch_from_being_noted(alerts: Alerts) -> None:
    alerts.run("watch_job")
    alerts.tick()
    place = read_place(alerts.cursor)
    assert place is not None
    ahead = alerts.listening.clock.now() + timedelta(days=1)
    alerts.cursor = write_place(replace(place, watched_at=ahead))

    alerts.run("watch_job")
    alerts.tick()
    alerts.tick()

    first, second = alerts.listening.noted
    assert first < second


def test_a_watch_that_saw_something_bad_is_one_all_the_same(alerts: Alerts) -> None:
    bad = (Finding("primary", Outcome.FAILED, "two hours"),)
    alerts.listening.watched = tuple(
        Watched(each.name, Outcome.FAILED, Severity.CRITICAL, "two hours", parts=bad)
        for each in alerts.listening.watched
    )

    alerts.run("watch_job")
    alerts.tick()

    assert len(alerts.listening.noted) == 1


def test_a_watch_that_came_to_no_end_is_none(alerts: Alerts) -> None:
    alerts.listening.watched = alerts.listening.watched[1:]

    alerts.run("watch_job")
    alerts.tick()

    assert alerts.listening.noted == []


def test_a_watch_of_some_checks_is_none(alerts: Alerts) -> None:
    some = alerts.definitions.resolve_job_def("watch_job").get_subset(
        asset_check_selection={dg.AssetCheckKey(POINT, "rpo_holds")}
    )
    assert some.execute_in_process(instance=alerts.instance).success

    alerts.tick()

    assert alerts.listening.noted == []


def test_a_watch_whose_alerts_reach_nobody_is_none(alerts: Alerts) -> None:
    listening = alerts.listening
    listening.channels = (SimpleNamespace(name="slack"), SimpleNamespace(name="email"))
    listening.failing = ("slack", "email")
    alerts.run("watch_job")
    alerts.tick()
    assert listening.noted == []

    listening.failing = ("slack",)
    alerts.tick()

    assert len(listening.noted) == 1, "as soon as one channel takes messages again"
