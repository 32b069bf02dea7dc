"""CloudWatch as moto plays it: what stands there field by field, what is put, what is refused.

moto keeps alarms and never evaluates them; kb_dr_tests/unit/test_cloudwatch_alarms.py reckons.
"""

import json
import logging
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

import kb_dr.cli.cloudwatch
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.cli.app import run
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Reach
from kb_dr.errors import (
    AlertError,
    CloudWatchRefused,
    CloudWatchUnavailable,
    NotEnoughSpace,
    RepositoryUnavailable,
)
from kb_dr.installation import Installation
from kb_dr.operations import base_backup, restore_postgres
from kb_dr.settings import load_settings
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.object_stores import MotoStore

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient

REGION = "eu-west-1"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:kb-alerts"
HUSH = "hush-secret-0123456789"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDHUSH", "AWS_SECRET_ACCESS_KEY": HUSH}


def installed(directory: Path, **settings: str) -> MadeInstallation:
    made = MadeInstallation(directory, offsite=False)
    given = {
        "KB_DR_REPOSITORY_URL": str(directory / "primary"),
        "KB_DR_CLOUDWATCH": "on",
        "KB_DR_SNS_TOPIC_ARN": TOPIC,
        **KEYS,
        **settings,
    }
    made.settings = load_settings(given)
    return made


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def made(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeInstallation:
    made = installed(tmp_path)
    monkeypatch.setattr(kb_dr.cli.cloudwatch, "installation", lambda: made)
    return made


def metrics() -> "CloudWatchClient":
    return boto3.client("cloudwatch", REGION, aws_access_key_id="x", aws_secret_access_key="x")


def logs() -> "CloudWatchLogsClient":
    return boto3.client("logs", REGION, aws_access_key_id="x", aws_secret_access_key="x")


def standing() -> dict[str, dict[str, Any]]:
    found = metrics().describe_alarms()["MetricAlarms"]
    return {each["AlarmName"]: dict(each) for each in found}


def events(group: str) -> list[dict[str, Any]]:
    found = logs().filter_log_events(logGroupName=group)["events"]
    return [json.loads(each["message"]) for each in found]


def values(metric: str, kind: str, made: Installation) -> list[float]:
    end = made.clock.now() + timedelta(hours=1)
    answer = metrics().get_metric_statistics(
        Namespace="KB",
        MetricName=metric,
        Dimensions=[
            {"Name": "Kind", "Value": kind},
            {"Name": "Org", "Value": "default"},
            {"Name": "Service", "Value": "kb"},
        ],
        StartTime=end - timedelta(days=2),
        EndTime=end,
        Period=60,
        Statistics=["Maximum"],
    )
    points = sorted(answer["Datapoints"], key=lambda each: each["Timestamp"])
    return [each["Maximum"] for each in points]


def common(description: str, kind: str = "full") -> dict[str, Any]:
    return {
        "AlarmDescription": f"{description} Made by kb-dr default/kb; docs/monitoring.md says "
        "what to do.",
        "Namespace": "KB",
        "Statistic": "Maximum",
        "Dimensions": [
            {"Name": "Kind", "Value": kind},
            {"Name": "Org", "Value": "default"},
            {"Name": "Service", "Value": "kb"},
        ],
        "ActionsEnabled": True,
        "AlarmActions": [TOPIC],
        "OKActions": [TOPIC],
        "InsufficientDataActions": [],
    }


def test_each_alarm_stands_with_every_field(made: MadeInstallation) -> None:
    made.apply_cloudwatch()

    expected = {
        "KB-BackupFailure": {
            **common("No full backup has succeeded for 25 hours, or nobody says so."),
            "MetricName": "BackupSuccess",
            "Period": 3600,
            "EvaluationPeriods": 25,
            "DatapointsToAlarm": 25,
            "Threshold": 1.0,
            "ComparisonOperator": "LessThanThreshold",
            "TreatMissingData": "breaching",
        },
        "KB-BackupOverdue": {
            **common("The newest full backup is older than 25 hours, or its age is not known."),
            "MetricName": "TimeSinceLastBackup",
            "Period": 300,
            "EvaluationPeriods": 3,
            "DatapointsToAlarm": 3,
            "Threshold": 90000.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "breaching",
        },
        "KB-BackupDurationHigh": {
            **common("A full backup took longer than 30 minutes."),
            "MetricName": "BackupDuration",
            "Period": 3600,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "Threshold": 1800.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "ignore",
        },
        "KB-BackupRunFailed": {
            **common("A full backup failed within the last hour."),
            "MetricName": "BackupFailure",
            "Period": 3600,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        },
        "KB-IncrementRunFailed": {
            **common("An incremental backup failed within the last hour.", "incr"),
            "MetricName": "BackupFailure",
            "Period": 3600,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        },
        "KB-DumpRunFailed": {
            **common("A logical dump failed within the last hour.", "dump"),
            "MetricName": "BackupFailure",
            "Period": 3600,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        },
    }
    found = standing()
    assert set(found) == set(expected)
    for name, fields in expected.items():
        assert {field: found[name].get(field) for field in fields} == fields, name
        assert not found[name].get("Unit"), "with another unit than the points' it would see none"
        assert not found[name].get("Metrics")
        assert not found[name].get("ExtendedStatistic")


def test_the_dashboard_shows_the_four_metrics_with_their_thresholds(made: MadeInstallation) -> None:
    made.apply_cloudwatch()

    body = json.loads(metrics().get_dashboard(DashboardName="KB-Backups")["DashboardBody"])
    shown = [each["properties"] for each in body["widgets"] if each["type"] == "metric"]
    assert {each["metrics"][0][1] for each in shown} == {
        "BackupSuccess", "BackupFailure", "BackupDuration", "TimeSinceLastBackup",
    }  # fmt: skip
    assert {each["region"] for each in shown} == {REGION}
    for each in shown:
        for line in each["metrics"]:
            assert line[0] == "KB"
            assert line[2:-1:2] == ["Kind", "Org", "Service"]
    lines = {
        each["metrics"][0][1]: each["annotations"]["horizontal"][0]["value"]
        for each in shown
        if "annotations" in each
    }
    assert lines == {"BackupDuration": 1800, "TimeSinceLastBackup": 90000}
    assert all(each["x"] + each["width"] <= 24 for each in body["widgets"])


def test_log_groups_stand_and_keep_a_year(made: MadeInstallation) -> None:
    made.apply_cloudwatch()

    groups = logs().describe_log_groups()["logGroups"]
    assert {each["logGroupName"]: each["retentionInDays"] for each in groups} == {
        "/aws/knowledgebase/backup": 365,
        "/aws/knowledgebase/restore": 365,
    }


def test_a_dry_run_changes_nothing_and_a_second_run_says_that_nothing_changes(
    made: MadeInstallation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["cloudwatch", "apply", "--dry-run"]) == 0
    assert "dry run: nothing was changed" in capsys.readouterr().out
    assert standing() == {}
    assert run(["cloudwatch", "apply"]) == 0
    assert "9 made, 0 changed" in capsys.readouterr().out
    from kb_dr.adapters.cloudwatch import AwsCloudWatch

    def written(*_: object) -> None:
        raise AssertionError("something was written")

    for name in ("put_alarm", "put_dashboard", "make_log_group", "keep_logs"):
        monkeypatch.setattr(AwsCloudWatch, name, written)
    assert run(["cloudwatch", "apply"]) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert run(["cloudwatch", "apply", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["changed"] is False
    assert {each["does"] for each in shown["plan"]["changes"]} == {"stands"}


def test_what_was_changed_by_hand_is_named_and_set_back(
    made: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    made.apply_cloudwatch()
    before = {name: each["Threshold"] for name, each in standing().items()}
    client = metrics()
    client.put_metric_alarm(
        AlarmName="KB-BackupOverdue",
        Namespace="KB",
        MetricName="TimeSinceLastBackup",
        Dimensions=[
            {"Name": "Service", "Value": "kb"},
            {"Name": "Org", "Value": "default"},
            {"Name": "Kind", "Value": "full"},
        ],
        Statistic="Maximum",
        Period=300,
        EvaluationPeriods=3,
        Threshold=999999,
        ComparisonOperator="GreaterThanThreshold",
    )
    client.disable_alarm_actions(AlarmNames=["KB-BackupFailure"])
    client.put_dashboard(
        DashboardName="KB-Backups",
        DashboardBody=json.dumps(
            {"widgets": [{"type": "text", "properties": {"markdown": "Made by kb-dr default/kb;"}}]}
        ),
    )
    client.delete_alarms(AlarmNames=["KB-BackupRunFailed"])
    logs().put_retention_policy(logGroupName="/aws/knowledgebase/restore", retentionInDays=1)
    logs().delete_retention_policy(logGroupName="/aws/knowledgebase/backup")

    plan = {each.name: each for each in made.plan_cloudwatch().to_do}
    assert run(["cloudwatch", "apply"]) == 0

    assert set(plan) == {
        "KB-BackupOverdue", "KB-BackupFailure", "KB-Backups", "KB-BackupRunFailed",
        "/aws/knowledgebase/restore", "/aws/knowledgebase/backup",
    }  # fmt: skip
    assert "threshold: 999999, expected 90000" in plan["KB-BackupOverdue"].differs
    assert plan["KB-BackupFailure"].differs == ("actions_enabled: False, expected True",)
    assert "1 made, 5 changed" in capsys.readouterr().out
    assert made.plan_cloudwatch().to_do == ()
    assert {name: each["Threshold"] for name, each in standing().items()} == before


def test_what_somebody_else_made_is_neither_changed_nor_deleted(
    made: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    client = metrics()
    for name in ("KB-BackupFailure", "KB-Disk"):
        client.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/EC2",
            MetricName="CPUUtilization",
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=5,
            ComparisonOperator="GreaterThanThreshold",
        )
    logs().create_log_group(logGroupName="/aws/knowledgebase/backup")
    before = standing()

    assert run(["cloudwatch", "apply"]) == AlertError.exit_code
    assert "KB-BackupFailure: somebody else's has this name" in capsys.readouterr().err
    assert run(["cloudwatch", "apply", "--dry-run"]) == AlertError.exit_code
    assert standing() == before, "one refusal, and nothing is half done"

    client.delete_alarms(AlarmNames=["KB-BackupFailure"])
    assert run(["cloudwatch", "apply"]) == 0
    assert standing()["KB-Disk"] == before["KB-Disk"]
    kept = logs().describe_log_groups(logGroupNamePrefix="/aws/knowledgebase/backup")["logGroups"]
    assert "retentionInDays" not in kept[0], "his events are not made to go"


def test_a_run_that_was_cut_off_is_finished_by_the_next(made: MadeInstallation) -> None:
    logs().create_log_group(
        logGroupName="/aws/knowledgebase/backup", tags={"kb-dr": "kb-dr default/kb"}
    )

    made.apply_cloudwatch()

    assert made.plan_cloudwatch().to_do == ()


def test_put_tells_ages_and_what_ended_lately_and_twice_is_once(
    made: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = store_now(made)
    made.primary.put(layout.failure_key(BackupId.of("kb", BackupKind.INCR, made.clock.now()), "a"),
                     b"{}")  # fmt: skip

    for _ in range(2):
        assert run(["cloudwatch", "put"]) == 0

    assert "TimeSinceLastBackup" in capsys.readouterr().out
    assert values("BackupSuccess", "full", made).count(1) == 1
    assert values("BackupFailure", "incr", made).count(1) == 1
    assert values("BackupFailure", "full", made) == [0]
    took = (stored.manifest.finished - stored.manifest.started).total_seconds()
    assert values("BackupDuration", "full", made) == [took]
    age = (made.clock.now() - stored.manifest.finished).total_seconds()
    assert values("TimeSinceLastBackup", "full", made) == [age]
    assert values("TimeSinceLastBackup", "incr", made) == []


def store_now(made: MadeInstallation) -> StoredManifest:
    """A backup that ended lately by the clock of the test."""
    stored = made.has_backup()
    made.made_clock.set(stored.manifest.finished + timedelta(minutes=5))
    return stored


def test_an_age_nobody_can_tell_is_not_put(
    made: MadeInstallation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store_now(made)

    def gone(copy: str) -> None:
        raise RepositoryUnavailable("read it: no answer")

    monkeypatch.setattr(made, "checked", gone)
    with pytest.raises(RepositoryUnavailable):
        made.put_in_cloudwatch()
    made.note_in_cloudwatch()

    assert values("BackupSuccess", "full", made) == []
    assert "CloudWatch is not told how old backups are: read it: no answer" in caplog.text


@pytest.fixture
def backing_up(made: MadeInstallation, monkeypatch: pytest.MonkeyPatch) -> MadeInstallation:
    """The real back_up(), whose programs are played."""
    play(made, monkeypatch)
    made.apply_cloudwatch()
    return made


def play(made: MadeInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb_dr.wiring.base_backup_program", lambda _: None)
    monkeypatch.setattr(base_backup, "take_base_backup", lambda *_, **__: store_now(made))


def test_a_backup_that_succeeds_is_told_with_its_id(backing_up: MadeInstallation) -> None:
    stored = backing_up.back_up(None, SilentProgress())

    assert values("BackupSuccess", "full", backing_up) == [1]
    [told] = events("/aws/knowledgebase/backup")
    assert told["event"] == "backup"
    assert told["outcome"] == "succeeded"
    assert told["backup_id"] == stored.manifest.id
    assert told["digest"] == stored.digest


def test_a_backup_that_fails_is_told_and_fails_as_it_would(
    backing_up: MadeInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> StoredManifest:
        raise NotEnoughSpace("back up: the disk is full")

    monkeypatch.setattr(base_backup, "take_base_backup", fails)

    with pytest.raises(NotEnoughSpace):
        backing_up.back_up(None, SilentProgress())

    assert values("BackupFailure", "full", backing_up) == [1]
    [told] = events("/aws/knowledgebase/backup")
    assert told["outcome"] == "failed"
    assert told["exit_code"] == NotEnoughSpace.exit_code
    assert told["message"] == "back up: the disk is full"


def test_a_restore_is_told_with_what_it_reached(
    backing_up: MadeInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, at = store_now(backing_up), backing_up.clock.now()
    recovery = SimpleNamespace(stored=stored, copy="primary", target="latest")
    plan: Any = SimpleNamespace(recovery=recovery, target=Path("/srv/restored"))
    reach = Reach(1, Lsn(9), 1, Lsn(9), at)
    done = SimpleNamespace(reach=reach, started=at, finished=at + timedelta(seconds=90))
    results: list[object] = [done, NotEnoughSpace("restore: the disk is full")]

    def restore(*_: object) -> object:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(restore_postgres, "restore_postgres", restore)
    backing_up.restore(plan, SilentProgress())
    with pytest.raises(NotEnoughSpace):
        backing_up.restore(plan, SilentProgress())

    told = events("/aws/knowledgebase/restore")
    assert [each["outcome"] for each in told] == ["succeeded", "failed"]
    assert {each["backup_id"] for each in told} == {stored.manifest.id}
    assert told[0]["reached_lsn"] == "0/9"
    assert told[0]["seconds"] == 90
    assert told[1]["message"] == "restore: the disk is full"


def test_nothing_is_put_unless_it_is_on(
    aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = installed(tmp_path, KB_DR_CLOUDWATCH="off")
    play(made, monkeypatch)

    made.back_up(None, SilentProgress())
    made.note_in_cloudwatch()

    assert metrics().list_metrics()["Metrics"] == []


def test_a_cloudwatch_that_is_down_fails_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kb_dr.installation.cloudwatch.NOTE_SECONDS", 60)  # a starved machine
    made = installed(tmp_path, KB_DR_CLOUDWATCH_ENDPOINT_URL=closed_port())
    play(made, monkeypatch)

    assert made.back_up(None, SilentProgress()).manifest.kind is BackupKind.FULL

    assert "that a backup succeeded: put metrics into CloudWatch: no answer" in caplog.text


def test_a_cloudwatch_that_hangs_is_left_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kb_dr.installation.cloudwatch.NOTE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts, and never answers
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        made = installed(tmp_path, KB_DR_CLOUDWATCH_ENDPOINT_URL=endpoint)
        play(made, monkeypatch)

        assert made.back_up(None, SilentProgress()).manifest.kind is BackupKind.FULL

    assert "that a backup succeeded: not within 0.1 s" in caplog.text


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_endpoint_that_is_down_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = installed(tmp_path, KB_DR_CLOUDWATCH_ENDPOINT_URL=closed_port())
    made.has_backup()

    with pytest.raises(CloudWatchUnavailable, match="put metrics into CloudWatch: no answer"):
        made.put_in_cloudwatch(patient=False)


def test_refused_keys_are_named_without_being_shown(
    made: MadeInstallation, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    @set_initial_no_auth_action_count(0)
    def refused() -> None:
        assert run(["cloudwatch", "apply"]) == CloudWatchRefused.exit_code
        with caplog.at_level(logging.WARNING):
            made.note_in_cloudwatch()

    refused()

    said = capsys.readouterr()
    assert "ask CloudWatch for its alarms: status 403" in said.err
    for text in (said.out, said.err, caplog.text):
        assert HUSH not in text
        assert "AKIDHUSH" not in text


def test_keys_that_are_not_there_are_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    made = installed(
        tmp_path,
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        KB_DR_CLOUDWATCH_ENDPOINT_URL=closed_port(),
    )

    with pytest.raises(CloudWatchRefused, match="no keys of AWS were found"):
        made.plan_cloudwatch()


def test_all_of_it_works_over_the_wire(tmp_path: Path, moto_store: MotoStore) -> None:
    made = installed(tmp_path, KB_DR_CLOUDWATCH_ENDPOINT_URL=moto_store.endpoint_url)
    store_now(made)

    assert len(made.apply_cloudwatch().to_do) == 9
    assert made.apply_cloudwatch().to_do == ()
    assert made.put_in_cloudwatch()
