"""Schedules and sensors that do not do what they should are told, each once while it lasts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._utils.schedules import reverse_cron_string_iterator

from kb_dr.definitions import defs
from kb_dr.defs.alerting.automation import automata, look_at_automation, missed_while_down
from kb_dr.defs.alerting.cron_times import due_between, last_due
from kb_dr.defs.alerting.place import Broken, Place, read_place, write_place
from kb_dr.domain.alert_kinds import KINDS
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity
from kb_dr_tests.alerted_definitions import World, alerted
from kb_dr_tests.listening import Alerts, Listening, instigator, tick_of

NOW = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
DAILY, MINUTE = "daily_full_backup", "wal_every_minute"
CRON = {DAILY: "0 2 * * *", MINUTE: "* * * * *"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def broken(
    instance: dg.DagsterInstance, *, now: datetime = NOW, up_since: datetime | None = None
) -> dict[str, Notice]:
    """What is not as it should be."""
    found = automata(instance, alerted(World()).get_repository_def(), "kb_dr")
    looked = look_at_automation(found, now, up_since or NOW - timedelta(days=9))
    return {each.key: each.notice for each in looked if each.notice is not None}


def both_tick(instance: dg.DagsterInstance) -> None:
    """The daemon has seen everything, and done what was due."""
    for name, cron in CRON.items():
        state = instigator(instance, name, cron, since=NOW - timedelta(days=5))
        tick_of(instance, state, last_due(cron, NOW) or NOW)
    sensor = instigator(instance, "alerts_go_out", None, since=NOW)
    tick_of(instance, sensor, NOW, status=TickStatus.SKIPPED)


def test_nothing_is_told_of_schedules_that_tick(instance: dg.DagsterInstance) -> None:
    both_tick(instance)

    assert broken(instance) == {}


def test_a_schedule_that_did_not_tick_is_missed_after_ten_minutes(
    instance: dg.DagsterInstance,
) -> None:
    both_tick(instance)
    next_due = datetime(2026, 11, 29, 2, tzinfo=UTC)

    soon = broken(instance, now=next_due + timedelta(minutes=9))
    late = broken(instance, now=next_due + timedelta(minutes=10))

    assert f"schedule/{DAILY}" not in soon
    told = late[f"schedule/{DAILY}"]
    assert (told.kind, told.severity) == ("schedule_missed", Severity.CRITICAL)
    assert "was due at 2026-11-29 02:00 UTC and did not run; it last ran at 2026-11-28" in told.seen


def test_a_schedule_the_daemon_never_saw_is_missed_once_it_was_due(
    instance: dg.DagsterInstance,
) -> None:
    since = NOW - timedelta(hours=11)

    told = broken(instance, up_since=since)

    assert set(told) == {f"schedule/{DAILY}", f"schedule/{MINUTE}"}
    assert "it has never run" in told[f"schedule/{DAILY}"].seen
    assert broken(instance, up_since=NOW - timedelta(hours=1)).keys() == {f"schedule/{MINUTE}"}


def test_a_schedule_owes_nothing_from_before_it_was_turned_on(
    instance: dg.DagsterInstance,
) -> None:
    both_tick(instance)
    instigator(instance, DAILY, CRON[DAILY], since=NOW + timedelta(days=1))

    assert f"schedule/{DAILY}" not in broken(instance, now=NOW + timedelta(days=1))


def test_a_schedule_that_was_turned_off_is_told_and_not_missed_as_well(
    instance: dg.DagsterInstance,
) -> None:
    both_tick(instance)
    off = InstigatorStatus.STOPPED
    instigator(instance, DAILY, CRON[DAILY], since=NOW, status=off)
    instigator(instance, "alerts_go_out", None, since=NOW, status=off)

    told = broken(instance, now=NOW + timedelta(days=3))

    assert told[f"schedule/{DAILY}/off"].kind == "schedule_is_off"
    assert told[f"schedule/{DAILY}/off"].severity is Severity.WARNING
    assert f"schedule/{DAILY}" not in told
    assert "sensor/alerts_go_out/off" in told


def test_a_tick_that_failed_and_was_not_tried_again_is_told(
    instance: dg.DagsterInstance,
) -> None:
    both_tick(instance)
    state = instigator(instance, DAILY, CRON[DAILY], since=NOW - timedelta(days=5))
    at = NOW + timedelta(seconds=30)
    tick_of(instance, state, at, status=TickStatus.FAILURE, error="no such bucket")

    assert broken(instance, now=at + timedelta(minutes=1)).keys() == set()
    told = broken(instance, now=at + timedelta(minutes=2))[f"schedule/{DAILY}/failing"]

    assert (told.kind, told.severity) == ("automation_failed", Severity.CRITICAL)
    assert "no such bucket" in told.seen


def test_a_sensor_that_fails_three_times_in_a_row_is_told_and_once_is_not(
    instance: dg.DagsterInstance,
) -> None:
    both_tick(instance)
    sensor = instigator(instance, "alerts_go_out", None, since=NOW)
    told = []
    for count in range(1, 4):
        at = NOW + timedelta(seconds=15 * count)
        tick_of(instance, sensor, at, status=TickStatus.FAILURE, error="no")
        told.append("sensor/alerts_go_out/failing" in broken(instance, now=at))

    assert told == [False, False, True]


def test_what_fails_for_long_is_one_condition_and_fails_anew_is_another(
    instance: dg.DagsterInstance,
) -> None:
    alerts = Alerts(instance, alerted(World()), Listening())
    sensor = instigator(instance, "alerts_go_out", None, since=NOW)
    key = "sensor/alerts_go_out/failing"
    for _ in range(2):
        for _ in range(8):
            tick_of(instance, sensor, alerts.listening.clock.now(),
                    status=TickStatus.FAILURE, error="no")  # fmt: skip
            alerts.tick()
        tick_of(instance, sensor, alerts.listening.clock.now())
        alerts.tick()

    states = [each.state for each in alerts.listening.taken if each.key == key]
    assert states == [State.BROKEN, State.MENDED] * 2


def test_what_was_missed_while_all_stood_still_is_told_in_one_notice(
    instance: dg.DagsterInstance,
) -> None:
    both_tick(instance)
    up = NOW + timedelta(hours=3)
    found = automata(instance, alerted(World()).get_repository_def(), "kb_dr")

    told = missed_while_down(instance, found, NOW, up)
    assert told is not None
    assert told.seen.endswith(f"left out: {MINUTE} 179 times")
    assert told.state is State.TOLD
    # What is made up for now is not told as missed, unless it stays away.
    assert broken(instance, now=up, up_since=up) == {}
    later = up + timedelta(minutes=11)
    assert broken(instance, now=later, up_since=up).keys() == {f"schedule/{MINUTE}"}
    assert missed_while_down(instance, found, NOW, NOW + timedelta(seconds=50)) is None


def test_the_sensor_tells_of_a_pause_once(instance: dg.DagsterInstance) -> None:
    alerts = Alerts(instance, alerted(World()), Listening())
    clock = alerts.listening.clock
    state = instigator(instance, MINUTE, CRON[MINUTE], since=clock.now() - timedelta(days=1))
    tick_of(instance, state, clock.now().replace(second=0, microsecond=0))
    alerts.tick()
    clock.ahead = timedelta(hours=1)
    for _ in range(3):
        alerts.tick()

    assert [each.key for each in alerts.listening.taken] == ["schedule/all"]


def test_a_run_that_waits_for_an_hour_or_does_not_end_is_stuck_until_it_ends(
    instance: dg.DagsterInstance,
) -> None:
    alerts = Alerts(instance, alerted(World()), Listening())
    alerts.tick()
    alerts.listening.clock.ahead = timedelta(minutes=9)
    waiting = instance.add_run(
        dg.DagsterRun(job_name="backup_job", status=dg.DagsterRunStatus.STARTING)
    )
    endless = instance.add_run(
        dg.DagsterRun(
            job_name="watch_job",
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/max_runtime": "600"},
        )
    )
    alerts.tick()
    assert alerts.listening.taken == []
    told = []
    for minutes in (18, 27, 36, 45, 54, 63, 72):
        alerts.listening.clock.ahead = timedelta(minutes=minutes)
        alerts.tick()
        told.append(sorted(key for key in alerts.listening.open if key.endswith("/stuck")))

    # 600 s and ten minutes of slack; an hour of waiting.
    assert told[0] == []
    assert told[1] == told[4] == ["run/watch_job/stuck"]
    assert told[5] == ["run/backup_job/stuck", "run/watch_job/stuck"]
    for run in (waiting, endless):
        instance.report_run_canceled(run)
    alerts.tick()
    assert [key for key in alerts.listening.open if key.endswith("/stuck")] == []


@pytest.mark.parametrize(
    "cron",
    ["0 2 * * *", "* * * * *", "*/5 * * * *", "0 6 * * 0", "0 7 1 1,4,7,10 *", "30 3 29 2 *",
     "0 5 2 * *", "15 10 1-7 * 1", "0 8 * * 1", "@daily", "@weekly"],
)  # fmt: skip
def test_what_was_due_last_is_what_dagster_would_have_run(cron: str) -> None:
    for minutes in range(0, 60 * 24 * 40, 613):
        now = NOW + timedelta(minutes=minutes)
        theirs = next(reverse_cron_string_iterator(now.timestamp(), cron, "UTC"))
        assert last_due(cron, now) == theirs


def test_what_is_due_at_this_very_second_is_due() -> None:
    at = datetime(2026, 11, 28, 2, tzinfo=UTC)

    assert last_due("0 2 * * *", at) == at
    assert list(due_between("0 2 * * *", at, at + timedelta(days=1))) == [at + timedelta(days=1)]


def test_a_place_is_read_as_it_was_written_and_what_is_none_is_a_first_start() -> None:
    place = Place(
        NOW, NOW - timedelta(hours=1), {"RUN_FAILURE": 7}, {"RUN_FAILURE": (5, 7)},
        {"run/backup_job": Broken("run/1", NOW)},
    )  # fmt: skip

    assert read_place(write_place(place)) == place
    for cursor in (None, "", "{}", "[]", "7", '{"version": 2}', '{"version": 1}', "no JSON"):
        assert read_place(cursor) is None


def test_every_check_on_the_pages_has_a_kind_of_alert() -> None:
    names = {key.name for key in defs.resolve_asset_graph().asset_check_keys}

    assert names <= set(KINDS)
