"""Alerts through trouble: real channels, a real database, sinks that answer badly or not at all.

The clock is made: hours pass at once. What the outbox does by itself is in test_outbox_faults.py.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.cli.app import run
from kb_dr.domain.alert import Alert
from kb_dr.domain.message import What
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.errors import RepositoryRefused
from kb_dr.logs import JSON, configure
from kb_dr_tests.alerted_channels import Sinks, all_sinks, installed
from kb_dr_tests.alerted_definitions import World, alerted
from kb_dr_tests.catalog_database import CatalogDatabase
from kb_dr_tests.faults.alert_child import sensor_of
from kb_dr_tests.made_alerts import notice
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.sinks import (
    DROP,
    HANG,
    LOSE_ANSWER,
    Certificates,
    SlackMessage,
    WebhookSink,
    status,
    too_many,
)

ROUND_SECONDS = 60.0
"""Of one delivery: by the made clock none passes."""


@pytest.fixture
def sinks() -> Iterator[Sinks]:
    with all_sinks() as made:
        yield made


@pytest.fixture
def made(tmp_path: Path, database: CatalogDatabase, sinks: Sinks) -> MadeInstallation:
    return installed(tmp_path, sinks.settings, catalog_url=database.url)


def fails(made: MadeInstallation, number: int, *, severity: Severity = Severity.CRITICAL) -> Notice:
    """A job of its own has failed just now."""
    key = f"run/job_{number:03d}"
    at = made.clock.now()
    seen = f"job_{number:03d} broke"
    event = f"{key}/{at.isoformat()}"
    return Notice(event, key, "run_failed", State.BROKEN, severity, at, seen)


def works(made: MadeInstallation, number: int) -> Notice:
    """The same job has come to its end just now."""
    key, at = f"run/job_{number:03d}", made.clock.now()
    event = f"{key}/well/{at.isoformat()}"
    return Notice(
        event, key, "run_failed", State.MENDED, Severity.INFO, at, "a run of it succeeded"
    )


def deliver(made: MadeInstallation, *, minutes: float = 0.0) -> None:
    """So much later, tell what is to be told."""
    pass_time(made, minutes)
    made.deliver(seconds=ROUND_SECONDS)


def pass_time(made: MadeInstallation, minutes: float) -> None:
    made.made_clock.pass_time(timedelta(minutes=minutes))


def of_jobs(said: dict[str, list[str]]) -> dict[str, list[str]]:
    """Which jobs were spoken of, a sink at a time, each as often as it was."""
    return {
        name: [line[line.index("job_") :][:7] for line in lines if "job_" in line]
        for name, lines in said.items()
    }


def alert_of(made: MadeInstallation, number: int) -> Alert:
    (found,) = (each for each in made.alerts(all=True) if each.key == f"run/job_{number:03d}")
    return found


# Slack is away


def test_in_an_hour_without_slack_ten_alerts_wait_for_it_and_for_nobody_else(
    tmp_path: Path, database: CatalogDatabase, sinks: Sinks
) -> None:
    made = installed(tmp_path, sinks.settings, catalog_url=database.url)
    hasty = installed(tmp_path / "hasty", sinks.settings, catalog_url=database.url, seconds=0.5)
    made.channels = (*hasty.channels[:2], *made.channels[2:])
    jobs = [f"job_{number:03d}" for number in range(10)]
    sinks.bot.answer_next(LOSE_ANSWER)
    for number in range(10):
        trouble = status(500) if number < 4 else HANG if number < 7 else DROP
        for sink in (sinks.slack, sinks.bot):
            sink.answer_always(trouble)
        made.take([fails(made, number)])
        deliver(made)
        made.acknowledge([alert_of(made, number).id], by="anna")

        seen = of_jobs(sinks.said())
        assert seen["mail"] == seen["hook"] == jobs[: number + 1]
        assert sinks.pager.incidents[f"kb/run/{jobs[number]}"].state == "triggered"
        pass_time(made, 6)

    assert of_jobs(sinks.said())["bot"] == ["job_000"], "its answer was lost, the message was not"
    for sink in (sinks.slack, sinks.bot):
        sink.heal()
    deliver(made, minutes=6)

    deliver(made)
    seen = of_jobs(sinks.said())
    assert seen["slack"] == seen["bot"] == seen["mail"] == jobs
    assert {each.state for each in sinks.pager.incidents.values()} >= {"acknowledged"}
    told = sinks.of("does not take messages")
    assert len([line for line in told["mail"] if "slack-bot" in line]) == 2, "broken, and mended"
    assert made.undelivered() == ()


def test_a_channel_that_asks_for_time_gets_it_and_nobody_else_waits(
    made: MadeInstallation, sinks: Sinks
) -> None:
    sinks.slack.answer_next(too_many(120))
    sinks.bot.answer_next(too_many(600))
    made.take([fails(made, 1)])
    deliver(made)
    deliver(made, minutes=1.9)

    assert (len(sinks.slack.requests), len(sinks.bot.requests)) == (1, 1)
    assert len(sinks.mail.messages) == len(sinks.hook.messages) == 1
    deliver(made, minutes=0.2)
    assert (len(sinks.slack.messages), len(sinks.bot.requests)) == (1, 1)
    deliver(made, minutes=8)
    assert len(sinks.bot.messages) == 1


# where alerts are kept is away


@pytest.mark.parametrize("bucket", [True, False], ids=["bucket", "no-bucket"])
@pytest.mark.parametrize("begun", ["before", "after"])
def test_without_the_database_alerts_go_out_and_are_reconciled_unheard(
    tmp_path: Path, database: CatalogDatabase, sinks: Sinks, begun: str, bucket: bool
) -> None:
    made = installed(tmp_path, sinks.settings, catalog_url=database.url)
    if begun == "before":
        made.take([fails(made, 1)])
        deliver(made)
    database.drop()
    if not bucket:
        for memory in made.memory.values():
            memory.failures[""] = memory.failures["repository.json"] = RepositoryRefused("403")
    pass_time(made, 0.2)
    if begun == "after":
        made.take([fails(made, 1)])
    made.take([fails(made, 2), fails(made, 3)])
    deliver(made, minutes=0.2)
    made.take([works(made, 1)])
    deliver(made, minutes=0.2)
    during = of_jobs(sinks.said())
    database.make()
    again = installed(tmp_path, sinks.settings, catalog_url=database.url)
    again.made_clock.set(made.clock.now())
    deliver(again, minutes=0.2)
    again.take([works(again, 2)])
    deliver(again, minutes=0.2)

    expected = ["job_001", "job_002", "job_003", "job_001"]
    assert during["mail"] == during["bot"] == during["slack"] == during["hook"] == expected
    after = of_jobs(sinks.said())
    assert after["mail"] == after["bot"] == after["pager"] == [*expected, "job_002"]
    rows = database.query("select key from alert_log where closed_at is null order by key")
    assert rows == [("run/job_003",)]
    assert database.query("select distinct state from alert_deliveries") == [("delivered",)]


# storms


def test_a_critical_alert_behind_499_warnings_is_told_first(
    made: MadeInstallation, sinks: Sinks
) -> None:
    made.take(
        [
            *(fails(made, number, severity=Severity.WARNING) for number in range(499)),
            fails(made, 999),
        ]
    )
    deliver(made)

    for name, messages in (("slack", sinks.slack.messages), ("bot", sinks.bot.messages)):
        assert len(messages) == 1, name
        assert "job_999" in whole(messages[0])
    (mail,) = sinks.mail.messages
    assert mail.text.index("job_999") < mail.text.index("job_000")
    assert of_jobs(sinks.said())["pager"] == ["job_999"]


def whole(message: SlackMessage) -> str:
    return f"{message.text}\n{message.words}"


def test_a_storm_of_500_failures_is_grouped_paced_and_told_in_full_and_so_is_its_end(
    made: MadeInstallation, sinks: Sinks
) -> None:
    pages = 5  # of 40 lines: the critical ones, ten warnings, and how many more there are
    worst = {f"job_{number:03d}" for number in range(350, 500)}
    made.take(
        [
            *(fails(made, number, severity=Severity.WARNING) for number in range(350)),
            *(fails(made, number) for number in range(350, 500)),
        ]
    )
    rounds = []
    while made.undelivered():
        before = len(sinks.pager.messages)
        deliver(made)
        rounds.append(len(sinks.pager.messages) - before)
        pass_time(made, 1.1)

    assert max(rounds) == 30, "so many a minute"
    assert {
        each.summary[each.summary.index("job_") :][:7] for each in sinks.pager.open_incidents()
    } == worst
    for messages in (
        [whole(each) for each in sinks.slack.messages],
        [whole(each) for each in sinks.bot.messages],
        [each.text for each in sinks.mail.messages],
    ):
        assert len(messages) == pages
        told = "\n".join(messages)
        assert all(job in told for job in worst)
        assert "and 340 more that are not critical" in told

    sinks.forget()
    made.take([works(made, number) for number in range(500)])
    deliver(made)
    assert len(sinks.slack.messages) == pages
    while made.undelivered():
        deliver(made, minutes=1.1)
    assert sinks.pager.open_incidents() == ()
    assert len(sinks.slack.messages) == len(sinks.bot.messages) == len(sinks.mail.messages) == pages
    assert made.alerts() == ()


# channels that are set up wrongly


def test_a_channel_that_is_set_up_wrongly_is_found_by_doctor_and_told_on_the_others(
    tmp_path: Path,
    database: CatalogDatabase,
    sinks: Sinks,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with WebhookSink(certificates) as untrusted:
        settings = sinks.settings | {
            "KB_DR_SLACK_BOT_TOKEN": "xoxb-nobodys",
            "KB_DR_SMTP_PORT": "9",
            "KB_DR_WEBHOOK_URL": untrusted.webhook_url,
        }
        made = installed(tmp_path, settings, catalog_url=database.url)
        monkeypatch.setattr("kb_dr.cli.doctor.installation", lambda: made)

        found = {each.subject: each for each in made.diagnose()}
        code = run(["doctor"])
        made.take([fails(made, 1)])
        deliver(made)
        deliver(made)
        at_once = sinks.of("does not take messages")["slack"]
        deliver(made, minutes=11)
        deliver(made)
        later = sinks.of("does not take messages")["slack"]

    assert code != 0
    said = capsys.readouterr().err
    for channel, outcome, seen in (
        ("slack-bot", Outcome.FAILED, "invalid_auth"),
        ("email", Outcome.COULD_NOT_RUN, "connection refused"),
        ("webhook", Outcome.FAILED, "certificate is not trusted"),
    ):
        finding = found[f"alerts by {channel}"]
        assert (finding.outcome, seen in finding.seen, bool(finding.hint)) == (outcome, True, True)
        assert f"alerts by {channel}" in said
    assert found["alerts by slack"].good
    assert found["alerts by pagerduty"].good
    assert len(at_once) == 2
    assert "does not take messages: slack-bot" in at_once[0]
    assert "does not take messages: webhook" in at_once[1]
    (mail,) = later[2:]
    assert "does not take messages: email" in mail


def test_that_slack_fails_is_told_by_pagerduty_where_nobody_else_is_told_of_warnings(
    tmp_path: Path, database: CatalogDatabase, sinks: Sinks
) -> None:
    kept = ("KB_DR_SLACK_W", "KB_DR_PAGERDUTY")
    settings = {name: text for name, text in sinks.settings.items() if name.startswith(kept)}
    made = installed(tmp_path, settings, catalog_url=database.url)
    sinks.slack.answer_always(status(403, body="invalid_token"))
    made.take([notice(kind="wal_is_compact", severity=Severity.WARNING)])
    deliver(made)
    deliver(made)

    (incident,) = sinks.pager.open_incidents()
    assert "does not take messages: slack" in incident.summary
    sinks.slack.heal()
    deliver(made, minutes=15)
    deliver(made)
    assert sinks.pager.open_incidents() == ()


# time


def test_clocks_that_differ_neither_hide_an_alert_nor_keep_one_open(
    made: MadeInstallation, sinks: Sinks
) -> None:
    right = made.clock.now()
    made.made_clock.set(right + timedelta(hours=3))
    sinks.slack.answer_next(status(403, body="invalid_token"))
    made.take([fails(made, 1)])
    deliver(made)
    made.made_clock.set(right)
    deliver(made)
    made.take([works(made, 1), fails(made, 2)])
    deliver(made)
    ahead = fails(made, 3)
    made.made_clock.set(right - timedelta(hours=1))
    made.take([ahead])
    made.take([works(made, 3), works(made, 2)])
    deliver(made)

    for name, jobs in of_jobs(sinks.said()).items():
        assert sorted(jobs) == sorted(["job_001", "job_002", "job_003"] * 2), name
        assert jobs.index("job_001") < jobs.index("job_002")
    assert [each.key for each in made.alerts() if each.key.startswith("run/")] == []
    assert all((each.content["lasted_seconds"] or 0) >= 0 for each in sinks.hook.messages)


def test_what_lasts_is_told_louder_unless_acknowledged_and_again_every_day(
    made: MadeInstallation, sinks: Sinks
) -> None:
    made.take([fails(made, 1), fails(made, 2)])
    deliver(made)
    made.acknowledge([alert_of(made, 2).id], by="anna")
    deliver(made, minutes=14)
    assert whats(sinks) == [(What.OPENED, "job_001"), (What.OPENED, "job_002")]
    sinks.forget()
    deliver(made, minutes=2)
    deliver(made, minutes=2)
    assert whats(sinks) == [(What.ESCALATED, "job_001")]
    assert sinks.pager.incidents["kb/run/job_001"].times == 2
    assert sinks.pager.incidents["kb/run/job_002"].state == "acknowledged"
    sinks.forget()
    for _ in range(25):
        deliver(made, minutes=60)
    assert sorted(whats(sinks)) == [(What.REMINDER, "job_001"), (What.REMINDER, "job_002")]


def whats(sinks: Sinks) -> list[tuple[str, str]]:
    """What the webhook was told of jobs."""
    return [
        (each.content["what"], each.content["title"][-7:])
        for each in sinks.hook.messages
        if "job_" in each.content["title"]
    ]


def test_the_weekly_digest_comes_once_a_week_and_pages_nobody(
    made: MadeInstallation, sinks: Sinks
) -> None:
    for week in (1, 2):
        for _ in range(2):
            made.tell_the_week()
        said = {name: len(lines) for name, lines in sinks.said().items()}
        assert said == {"slack": week, "bot": week, "mail": week, "pager": 0, "hook": 0}
        pass_time(made, 7 * 24 * 60)


# the daemon


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made


@pytest.fixture
def json_logs() -> Iterator[None]:
    """What is logged is JSON, for this test alone."""
    logger = logging.getLogger("kb_dr")
    handlers, level = list(logger.handlers), logger.level
    configure(logging.INFO, log_format=JSON, service="kb", name="kb_dr")
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def of_now(made: MadeInstallation) -> None:
    """Dagster writes down its own time."""
    made.made_clock.set(datetime.now(UTC))


def test_a_daemon_killed_between_send_and_record_tells_once_where_that_can_be_known(
    made: MadeInstallation,
    database: CatalogDatabase,
    sinks: Sinks,
    instance: dg.DagsterInstance,
    tmp_path: Path,
) -> None:
    of_now(made)
    sinks.bot.at(made.clock.now().timestamp())
    alerts = sensor_of(instance, made)
    alerts.tick()
    broken = alerted(World(backup=False)).resolve_job_def("backup_job")
    run_id = broken.execute_in_process(instance=instance, raise_on_error=False).run_id
    of_now(made)
    given = tmp_path / "given.json"
    given.write_text(
        json.dumps(
            {
                "directory": str(tmp_path / "child"),
                "settings": sinks.settings,
                "catalog_url": database.url,
                "now": made.clock.now().isoformat(),
                "home": str(tmp_path / "home"),
                "cursor": alerts.cursor,
            }
        )
    )
    child = subprocess.run(
        [sys.executable, "-m", "kb_dr_tests.faults.alert_child", str(given)],
        check=False,
        timeout=120,
    )
    before = {name: len(said) for name, said in sinks.said().items()}
    alerts.tick()

    assert child.returncode == 9
    assert set(before.values()) == {1}
    assert [each.run_id for each in made.alerts()] == [run_id]
    assert len(sinks.bot.messages) == 1
    (incident,) = sinks.pager.incidents.values()
    assert (incident.dedup_key, incident.opened) == ("kb/run/backup_job", 1)
    assert len({each.id for each in sinks.hook.messages}) == 1
    assert len({each.message["Message-ID"] for each in sinks.mail.messages}) == 1
    assert made.undelivered() == ()
    alerts.run("backup_job")
    of_now(made)
    alerts.tick()
    assert sinks.pager.open_incidents() == ()
    assert "back to normal" in sinks.bot.messages[-1].text


def test_a_check_that_crashes_is_an_alert_of_its_own_with_the_same_ids_everywhere(
    made: MadeInstallation,
    sinks: Sinks,
    instance: dg.DagsterInstance,
    json_logs: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    of_now(made)
    alerts = sensor_of(instance, made)
    alerts.tick()
    crashing = alerted(World(crash=True)).resolve_job_def("watch_job")
    run_id = crashing.execute_in_process(instance=instance, raise_on_error=False).run_id
    of_now(made)
    capfd.readouterr()
    alerts.tick()

    (alert,) = made.alerts()
    assert (alert.kind, alert.severity) == ("check_crashed", Severity.CRITICAL)
    assert alert.run_id == run_id
    assert instance.get_run_by_id(run_id) is not None
    assert alert.id in sinks.slack.messages[-1].words
    assert sinks.hook.messages[-1].content["alert_id"] == alert.id
    assert "division by zero" in sinks.mail.messages[-1].text
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "{" in line]
    sent = [each for each in logged if "went out by" in each["message"]]
    assert len(sent) == 5
    assert {each["alert_id"] for each in sent} == {alert.id}

    alerts.run("watch_job")
    of_now(made)
    alerts.tick()
    assert made.alerts() == ()
    assert "back to normal" in sinks.slack.messages[-1].text
