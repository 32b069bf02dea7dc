"""No run is started for a watch that would say what the page says."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

from kb_dr.definitions import build_definitions
from kb_dr.defs import look_first
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch_checks import MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr.errors import KbDrError
from kb_dr_tests.listening import Alerts, Listening


@pytest.fixture(scope="module")
def listening() -> Listening:
    return Listening()


@pytest.fixture(scope="module")
def definitions(listening: Listening) -> dg.Definitions:
    return build_definitions(listening.door(), ScheduleTimes())


@pytest.fixture
def alerts(listening: Listening, definitions: dg.Definitions) -> Iterator[Alerts]:
    """All is well, and nothing has run yet."""
    listening.watched = tuple(
        Watched(name, Outcome.PASSED, Severity.CRITICAL, "well") for name in MINUTE_CHECKS
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Alerts(instance, definitions, listening)


def asks_for_a_run(
    alerts: Alerts,
    *,
    later: timedelta = timedelta(minutes=1),
    door: InstallationDoor | None = None,
) -> bool:
    context = SimpleNamespace(
        instance=alerts.instance,
        scheduled_execution_time=datetime.now(UTC) + later,
        log=logging.getLogger("tick"),
    )
    asked = look_first.watch_where_needed(
        cast(dg.ScheduleEvaluationContext, context), door or alerts.listening.door(), "watch_job"
    )
    return isinstance(asked, dg.RunRequest)


def one_is(alerts: Alerts, outcome: Outcome, parts: tuple[Finding, ...] = ()) -> None:
    first, *others = alerts.listening.watched
    changed = replace(first, outcome=outcome, seen="otherwise", parts=parts)
    alerts.listening.watched = (changed, *others)


def test_without_news_a_run_is_left_out_and_the_look_is_not(alerts: Alerts) -> None:
    assert asks_for_a_run(alerts)  # nobody has looked yet

    alerts.run("watch_job")

    assert not asks_for_a_run(alerts)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.COULD_NOT_RUN, Outcome.NOT_APPLICABLE])
def test_whatever_changes_is_recorded_at_once(alerts: Alerts, outcome: Outcome) -> None:
    alerts.run("watch_job")
    one_is(alerts, outcome)

    assert asks_for_a_run(alerts)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.COULD_NOT_RUN])
def test_what_is_bad_and_was_recorded_is_recorded_again_when_it_changes(
    alerts: Alerts, outcome: Outcome
) -> None:
    one_is(alerts, outcome, parts=(Finding("primary", Outcome.FAILED, "two hours"),))
    assert asks_for_a_run(alerts)
    alerts.run("watch_job")

    one_is(alerts, outcome, parts=(Finding("primary", Outcome.FAILED, "three hours"),))
    assert not asks_for_a_run(alerts)

    one_is(alerts, outcome, parts=(Finding("offsite", Outcome.FAILED, "three hours"),))
    assert asks_for_a_run(alerts)

    one_is(alerts, Outcome.PASSED)
    assert asks_for_a_run(alerts)


def test_what_nobody_can_tell_is_recorded_when_it_becomes_critical(alerts: Alerts) -> None:
    one_is(alerts, Outcome.COULD_NOT_RUN)
    alerts.run("watch_job")
    assert not asks_for_a_run(alerts)

    alerts.listening.clock.ahead = timedelta(seconds=alerts.listening.grace_seconds + 1)
    asked = asks_for_a_run(alerts)
    alerts.listening.clock.ahead = timedelta()

    assert asked


def test_another_severity_is_recorded_at_once(alerts: Alerts) -> None:
    one_is(alerts, Outcome.FAILED)
    alerts.run("watch_job")
    first, *others = alerts.listening.watched
    alerts.listening.watched = (replace(first, severity=Severity.WARNING), *others)

    assert asks_for_a_run(alerts)


def test_a_check_that_the_look_says_nothing_of_is_not_well(alerts: Alerts) -> None:
    alerts.run("watch_job")
    alerts.listening.watched = alerts.listening.watched[1:]

    assert asks_for_a_run(alerts)


def test_that_the_watch_is_alive_is_recorded_every_five_minutes(alerts: Alerts) -> None:
    alerts.run("watch_job")

    assert timedelta(minutes=4) < look_first.ANYWAY_AFTER < timedelta(minutes=5)
    assert asks_for_a_run(alerts, later=timedelta(minutes=5))


def test_behind_a_run_that_failed_there_is_no_rest(alerts: Alerts) -> None:
    alerts.run("watch_job")
    alerts.instance.add_run(dg.DagsterRun(job_name="watch_job", status=dg.DagsterRunStatus.FAILURE))

    assert asks_for_a_run(alerts)


def test_a_run_of_some_checks_alone_is_no_whole_look(alerts: Alerts) -> None:
    alerts.run("watch_job")
    alerts.instance.add_run(dg.DagsterRun(job_name="watch_job", status=dg.DagsterRunStatus.SUCCESS))
    assert not asks_for_a_run(alerts)  # the whole one before it is young

    for run in alerts.instance.get_runs():
        if alerts.instance.get_records_for_run(run.run_id).records:
            alerts.instance.delete_run(run.run_id)
    assert asks_for_a_run(alerts)


def test_an_installation_that_does_not_open_is_for_the_run_to_complain_of(alerts: Alerts) -> None:
    alerts.run("watch_job")

    def refuse() -> Any:
        raise KbDrError("read the settings: one is wrong")

    assert asks_for_a_run(alerts, door=InstallationDoor(refuse))
    assert not asks_for_a_run(alerts)


def test_a_place_that_does_not_answer_holds_up_no_tick(
    alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts.run("watch_job")
    monkeypatch.setattr(look_first, "LOOK_SECONDS", 0.05)
    answers = threading.Event()

    def hang() -> Any:
        assert answers.wait(60)
        return alerts.listening

    assert asks_for_a_run(alerts, door=InstallationDoor(hang))
    assert asks_for_a_run(alerts)  # the first look goes on; another one is not begun beside it

    answers.set()
    monkeypatch.undo()
    (looking,) = [each for each in threading.enumerate() if each.name == "watch"]
    looking.join(60)
    assert not asks_for_a_run(alerts)
