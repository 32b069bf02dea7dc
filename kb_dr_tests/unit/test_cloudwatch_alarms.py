"""CloudWatch's alarms as values: they can be made, they fire, and they are those promised.

Nothing here or elsewhere evaluates an alarm: that only AWS does. So its arithmetic is tested.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.cloudwatch_alarms import (
    Alarm,
    Does,
    LogGroup,
    compare_alarm,
    compare_dashboard,
    compare_log_group,
    wanted_alarms,
    wanted_dashboard,
)
from kb_dr.domain.cloudwatch_metrics import (
    LOOK_BACK,
    Metric,
    Scope,
    failure_points,
    points_of_a_look,
    success_points,
)
from kb_dr.domain.manifest import Manifest
from kb_dr.operations.cloudwatch import look_for_points
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_dumps import DUMPED, store_dump
from kb_dr_tests.stored_backups import store_backup

KB = Scope("kb", "default")
TOPIC = "arn:aws:sns:eu-west-1:123456789012:kb"
ALARMS = {alarm.name: alarm for alarm in wanted_alarms(KB, TOPIC)}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return store_backup(MemoryRepository("primary", FakeClock()), PlainCodec()).manifest


@pytest.mark.parametrize("alarm", ALARMS.values(), ids=ALARMS)
def test_every_alarm_is_one_that_cloudwatch_accepts(alarm: Alarm) -> None:
    whole = alarm.period_seconds * alarm.evaluation_periods

    assert alarm.period_seconds % 60 == 0
    assert whole <= (7 * 86400 if alarm.period_seconds >= 3600 else 86400)
    assert 1 <= alarm.datapoints_to_alarm <= alarm.evaluation_periods
    assert len(alarm.name) <= 255
    assert len(alarm.description) <= 1024
    assert alarm.missing in ("breaching", "notBreaching", "ignore", "missing")


def test_no_success_in_25_hours_is_what_backup_failure_waits_for() -> None:
    alarm = ALARMS["KB-BackupFailure"]

    assert alarm.period_seconds * alarm.datapoints_to_alarm == 25 * 3600
    assert alarm.datapoints_to_alarm == alarm.evaluation_periods
    assert alarm.metric == "BackupSuccess"
    assert (alarm.comparison, alarm.threshold) == ("LessThanThreshold", 1)
    assert alarm.missing == "breaching", "silence is the worst news"


def test_an_age_beyond_25_hours_or_none_at_all_fires_within_minutes() -> None:
    alarm = ALARMS["KB-BackupOverdue"]

    assert alarm.metric == "TimeSinceLastBackup"
    assert (alarm.comparison, alarm.threshold) == ("GreaterThanThreshold", 25 * 3600)
    assert alarm.period_seconds * alarm.evaluation_periods <= 15 * 60
    assert alarm.missing == "breaching"


def test_neither_increments_nor_dumps_ever_keep_an_alarm_about_full_backups_green() -> None:
    watched = {name: dict(alarm.dimensions)["Kind"] for name, alarm in ALARMS.items()}

    assert watched.pop("KB-IncrementRunFailed") == "incr"
    assert watched.pop("KB-DumpRunFailed") == "dump"
    assert set(watched.values()) == {"full"}


def test_every_alarm_tells_the_topic_when_it_turns_red_and_when_it_turns_green() -> None:
    for alarm in ALARMS.values():
        assert alarm.alarm_actions == alarm.ok_actions == (TOPIC,)
        assert alarm.actions_enabled
    assert all(alarm.alarm_actions == () for alarm in wanted_alarms(KB, None))


def test_two_services_in_one_account_have_alarms_of_their_own() -> None:
    scopes = (KB, Scope("kb", "acme"), Scope("shop", "default"))
    names = [alarm.name for scope in scopes for alarm in wanted_alarms(scope, None)]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": 0.5}, "threshold: 0.5, expected 1"),
        ({"alarm_actions": ()}, f"alarm_actions: none, expected {TOPIC}"),
        ({"actions_enabled": False}, "actions_enabled: False, expected True"),
        ({"unit": "Bytes"}, "unit: Bytes, expected none"),
        ({"missing": "notBreaching"}, "missing: notBreaching, expected breaching"),
        ({"others": ("Metrics",)}, "others: Metrics, expected none"),
    ],
)
def test_whatever_differs_is_named(change: dict[str, Any], said: str) -> None:
    wanted = ALARMS["KB-BackupFailure"]

    found = compare_alarm(wanted, replace(wanted, **change), KB)

    assert found.does is Does.CHANGE
    assert found.differs == (said,)


def test_an_alarm_of_somebody_else_is_never_taken_for_ours() -> None:
    wanted = ALARMS["KB-BackupFailure"]
    theirs = replace(wanted, description="mine", namespace="AWS/EC2", dimensions=())

    assert compare_alarm(wanted, theirs, KB).does is Does.NOT_OURS
    assert compare_alarm(wanted, replace(theirs, namespace="KB"), KB).does is Does.NOT_OURS
    assert compare_alarm(wanted, replace(wanted, description="mine"), KB).does is Does.CHANGE


def test_a_dashboard_of_somebody_else_is_never_taken_for_ours() -> None:
    wanted = wanted_dashboard(KB, "eu-west-1")

    assert compare_dashboard("d", wanted, None, KB).does is Does.CREATE
    assert compare_dashboard("d", wanted, wanted, KB).does is Does.NOTHING
    assert compare_dashboard("d", wanted, {"widgets": []}, KB).does is Does.NOT_OURS
    fewer = {"widgets": wanted["widgets"][:2]}
    assert compare_dashboard("d", wanted, fewer, KB).does is Does.CHANGE


@pytest.mark.parametrize(
    ("days", "mark", "does"),
    [
        (365, KB.mark, Does.NOTHING),
        (7, KB.mark, Does.CHANGE),
        (None, KB.mark, Does.CHANGE),
        (365, "", Does.NOTHING),
        (7, "", Does.CHANGE),
        (3653, "", Does.NOTHING),
        (None, "", Does.NOTHING),
    ],
)
def test_logs_of_somebody_else_are_only_ever_kept_longer(
    days: int | None, mark: str, does: Does
) -> None:
    wanted = LogGroup("/aws/knowledgebase/backup", 365, KB.mark)

    assert compare_log_group(wanted, replace(wanted, days=days, mark=mark)).does is does


def test_a_look_puts_what_ended_lately_with_the_very_points_the_backup_put(
    manifest: Manifest,
) -> None:
    now = manifest.finished + timedelta(minutes=10)
    failed = now - timedelta(hours=1)

    points = points_of_a_look(now, [manifest], [(BackupKind.INCR, failed)])

    assert set(success_points(manifest)) <= set(points)
    assert set(failure_points(BackupKind.INCR, failed)) <= set(points)
    age = [each for each in points if each.metric is Metric.AGE]
    assert [(each.kind, each.value, each.at) for each in age] == [(BackupKind.FULL, 600, now)]
    zeros = {(each.metric, each.kind) for each in points if each.value == 0}
    assert zeros == {
        (metric, kind)
        for metric in (Metric.SUCCESS, Metric.FAILURE)
        for kind in (BackupKind.FULL, BackupKind.INCR, BackupKind.DUMP)
    }


def test_a_look_finds_dumps_beside_base_backups_and_the_age_of_each() -> None:
    repository, codec, clock = MemoryRepository("primary"), PlainCodec(), FakeClock()
    full = store_backup(repository, codec).manifest
    for days in (0, 7):
        dump = store_dump(repository, codec, started=DUMPED + timedelta(days=days)).manifest
    clock.set(dump.finished + timedelta(hours=1))

    points = look_for_points(repository, KB, clock.now())

    assert set(success_points(dump)) <= set(points)
    ages = {each.kind: each.value for each in points if each.metric is Metric.AGE}
    assert ages == {
        BackupKind.FULL: (clock.now() - full.finished).total_seconds(),
        BackupKind.DUMP: 3600,
    }
    done = [each for each in points if each.metric is Metric.SUCCESS and each.value]
    assert done == [success_points(dump)[0]]


def test_what_ended_long_ago_is_an_age_and_no_success(manifest: Manifest) -> None:
    now = manifest.finished + LOOK_BACK + timedelta(seconds=1)

    points = points_of_a_look(now, [manifest], [(BackupKind.FULL, manifest.finished)])

    assert {each.metric for each in points if each.value == 1} == set()
    assert max(each.value for each in points) == LOOK_BACK.total_seconds() + 1


def test_a_backup_of_the_future_has_no_age_which_alarms_take_for_the_worst(
    manifest: Manifest,
) -> None:
    ahead = points_of_a_look(manifest.finished - timedelta(hours=1), [manifest], [])
    just_now = points_of_a_look(manifest.finished - timedelta(seconds=5), [manifest], [])

    assert Metric.AGE not in {each.metric for each in ahead}
    assert [each.value for each in just_now if each.metric is Metric.AGE] == [0]


def test_without_any_backup_there_is_no_age_which_alarms_take_for_the_worst() -> None:
    points = points_of_a_look(datetime(2026, 11, 20, tzinfo=UTC), [], [])

    assert Metric.AGE not in {each.metric for each in points}
