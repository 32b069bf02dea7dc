"""`kb-dr alerts` and doctor: what is shown, what is refused, and the exit codes."""

import json
from pathlib import Path

import pytest

from kb_dr import wiring
from kb_dr.cli.app import run
from kb_dr.domain.finding import Finding
from kb_dr.domain.message import What
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.errors import RepositoryRefused
from kb_dr_tests.fake_channels import FakeChannel, down, refuses
from kb_dr_tests.made_alerts import failed_run, notice
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture
def slack() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def made(tmp_path: Path, slack: FakeChannel, monkeypatch: pytest.MonkeyPatch) -> MadeInstallation:
    """An installation with one channel, which is told everything."""
    made = MadeInstallation(tmp_path)
    made.channels = (slack, FakeChannel("pagerduty", groups=False))
    made.settings.alerting.routes.update(dict.fromkeys(Severity, ("slack", "pagerduty")))
    monkeypatch.setattr("kb_dr.cli.alerts.installation", lambda: made)
    monkeypatch.setattr("kb_dr.cli.doctor.installation", lambda: made)
    return made


def test_an_alert_is_listed_acknowledged_and_closed(
    made: MadeInstallation, slack: FakeChannel, capsys: pytest.CaptureFixture[str]
) -> None:
    made.take([notice()])
    made.deliver(seconds=5)
    (alert,) = made.alerts()

    assert run(["alerts", "list"]) == 0
    assert alert.id in capsys.readouterr().out
    assert run(["alerts", "ack", alert.id, "--by", "anna", "--note", "on it"]) == 0
    assert "acknowledged" in capsys.readouterr().out
    assert run(["alerts", "show", alert.id, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["alert"]["acknowledged_by"] == "anna"
    assert [(each["channel"], each["what"]) for each in shown["deliveries"]] == [
        ("slack", "opened"), ("pagerduty", "opened"), ("pagerduty", "acknowledged"),
    ]  # fmt: skip
    assert run(["alerts", "show", alert.id]) == 0
    assert "docs/monitoring.md#rpo_holds" in capsys.readouterr().out
    assert run(["alerts", "close", alert.id, "--by", "anna"]) == 0
    made.deliver(seconds=5)
    assert [what for what, _ in slack.said] == [What.OPENED, What.RECOVERED]
    assert made.alerts() == ()
    assert run(["alerts", "list", "--all"]) == 0
    assert "over after" in capsys.readouterr().out


def test_what_is_not_open_cannot_be_acknowledged_and_changes_nothing(
    made: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    made.take([notice()])
    (alert,) = made.alerts()

    assert run(["alerts", "ack", alert.id, "nonsense"]) == 2
    assert run(["alerts", "show", "nonsense"]) == 2

    assert "no open alert has this id" in capsys.readouterr().err
    assert made.alerts() == (alert,)


def test_what_was_refused_for_good_is_listed(
    made: MadeInstallation, slack: FakeChannel, capsys: pytest.CaptureFixture[str]
) -> None:
    slack.before = down()
    made.take([notice()])
    made.deliver(seconds=5)

    assert run(["alerts", "list"]) == 0

    out = capsys.readouterr().out
    assert "have not arrived" in out
    assert "it answered 503" in out


def test_a_test_is_sent_to_each_channel(made: MadeInstallation, slack: FakeChannel) -> None:
    assert run(["alerts", "test"]) == 0
    assert run(["alerts", "test", "pagerduty"]) == 0

    (message,) = slack.arrived
    assert (message.kind, message.what) == ("channel_test", What.TOLD)
    assert made.alerts(all=True) == ()


def test_a_test_that_fails_ends_with_the_code_of_its_cause(
    made: MadeInstallation, slack: FakeChannel
) -> None:
    slack.before = down()
    assert run(["alerts", "test"]) == 91
    slack.before = refuses
    assert run(["alerts", "test"]) == 92
    assert run(["alerts", "test", "fax"]) == 2
    made.channels = ()
    assert run(["alerts", "test"]) == 2


def test_a_wrong_channel_is_found_by_doctor(made: MadeInstallation, slack: FakeChannel) -> None:
    slack.before = refuses

    found = {each.subject: each for each in made.diagnose()}

    assert found["alerts by slack"].outcome is Outcome.FAILED
    assert found["alerts by pagerduty"] == Finding(
        "alerts by pagerduty", Outcome.PASSED, "it answers"
    )


def test_an_outbox_that_does_not_answer_is_found_by_doctor(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path, catalog_url="postgresql://kb@127.0.0.1:1/kb?sslmode=prefer")

    found = {each.subject: each for each in made.check_channels()}

    assert found["alert outbox"].outcome is Outcome.COULD_NOT_RUN
    assert "none is configured" in found["alert channels"].seen


def test_an_installation_records_alerts_in_each_of_its_repositories(
    made: MadeInstallation,
) -> None:
    made.take([notice()])

    for memory in made.memory.values():
        assert sum(key.startswith("alerts/") for key in memory.bodies) == 1
    assert wiring.outbox(made.settings) is None


def test_nothing_about_where_alerts_are_kept_is_ever_raised(
    tmp_path: Path, slack: FakeChannel
) -> None:
    made = MadeInstallation(tmp_path, catalog_url="postgresql://kb@127.0.0.1:1/kb?sslmode=prefer")
    made.channels = (slack,)
    made.settings.alerting.routes.update(dict.fromkeys(Severity, ("slack",)))
    for memory in made.memory.values():
        memory.failures[""] = memory.failures["repository.json"] = RepositoryRefused("403")
    made.settings.state_dir.write_text("a file where a directory should be")

    taken = made.take([notice()])
    sent = made.deliver(seconds=5)

    assert (taken.opened, sent.sent) == (1, 1)
    assert [what for what, _ in slack.said] == [What.OPENED]


def test_doctor_says_who_is_told_and_is_red_when_nobody_is_told_of_the_worst(
    made: MadeInstallation,
) -> None:
    found = {each.subject: each for each in made.check_channels()}
    assert found["who is told"].outcome is Outcome.PASSED
    assert "critical: slack, pagerduty" in found["who is told"].seen

    made.settings.alerting.routes[Severity.CRITICAL] = ()

    found = {each.subject: each for each in made.check_channels()}
    assert found["who is told"].outcome is Outcome.FAILED
    assert "critical: nobody" in found["who is told"].seen


def test_who_tries_a_channel_out_is_not_told_that_it_is_tried_again(
    made: MadeInstallation, slack: FakeChannel, capsys: pytest.CaptureFixture[str]
) -> None:
    slack.before = down()

    assert run(["alerts", "test", "slack"]) == 91

    said = capsys.readouterr()
    assert "tried again" not in said.out + said.err
    assert "Is its address right" in said.err


def test_a_list_of_a_dead_watch_says_that_it_is_dead(
    made: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["alerts", "list"]) == 0
    assert "no complete watch is known here" in capsys.readouterr().out

    made.note_watch(made.clock.now())
    assert run(["alerts", "list"]) == 0
    assert "watch" not in capsys.readouterr().out

    made.clock.sleep(1000)
    assert run(["alerts", "list"]) == 0
    assert "the watch was complete last 16.7 min ago" in capsys.readouterr().out


def test_the_worst_stands_first(made: MadeInstallation, capsys: pytest.CaptureFixture[str]) -> None:
    made.take([notice(severity=Severity.WARNING), failed_run(1, at=60)])

    assert run(["alerts", "list"]) == 0

    said = capsys.readouterr().out
    assert said.index("A run failed") < said.index("More would be lost")
