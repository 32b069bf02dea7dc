"""Settings of alerts: which channels there are, who is told, and no secret in any complaint."""

from pathlib import Path

import pytest

from kb_dr import wiring
from kb_dr.domain.severity import Severity
from kb_dr.errors import ConfigurationError
from kb_dr.settings import CHANNEL_NAMES, AlertSettings, Email, SlackWebhook, load_settings

SECRET = "hush-0123456789"

ALL = {
    "KB_DR_SLACK_WEBHOOK_URL": f"https://hooks.example/{SECRET}",
    "KB_DR_SLACK_BOT_TOKEN": SECRET,
    "KB_DR_SLACK_CHANNEL": "C0123456789",
    "KB_DR_EMAIL_TO": "ops@example.org, dba@example.org",
    "KB_DR_EMAIL_FROM": "kb-dr@example.org",
    "KB_DR_SMTP_HOST": "mail.example.org",
    "KB_DR_SMTP_USER": "kb-dr",
    "KB_DR_SMTP_PASSWORD": SECRET,
    "KB_DR_SNS_TOPIC_ARN": "arn:aws:sns:eu-central-1:123456789012:kb-dr",
    "KB_DR_PAGERDUTY_ROUTING_KEY": SECRET,
    "KB_DR_WEBHOOK_URL": f"https://alerts.example/{SECRET}",
    "KB_DR_WEBHOOK_SECRET": SECRET,
}
SECRETS = [name for name, value in ALL.items() if SECRET in value]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(given: dict[str, str]) -> AlertSettings:
    return load_settings(given).alerting


def refused(given: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(given)
    return str(caught.value)


def test_with_nothing_set_nobody_is_told() -> None:
    found = read({})

    assert found.channels == {}
    assert set(found.routes.values()) == {()}


def test_each_channel_that_is_filled_in_is_made() -> None:
    settings = load_settings(ALL)

    made = wiring.channels(settings)

    assert tuple(each.name for each in made) == CHANNEL_NAMES
    assert [each.name for each in made if not each.groups] == ["pagerduty"]


def test_who_is_told_by_default() -> None:
    routes = read(ALL).routes

    assert routes[Severity.CRITICAL] == CHANNEL_NAMES
    assert set(CHANNEL_NAMES) - set(routes[Severity.WARNING]) == {"pagerduty"}
    assert routes[Severity.INFO] == ("slack", "slack-bot", "email")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("all", CHANNEL_NAMES),
        ("none", ()),
        ("off", ()),
        ("pagerduty, slack", ("slack", "pagerduty")),
    ],
)
def test_a_route_names_channels(said: str, told: tuple[str, ...]) -> None:
    assert read(ALL | {"KB_DR_ALERT_WARNING": said}).routes[Severity.WARNING] == told


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_stand_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(ALL[name] + "\n")
    file.chmod(0o600)
    given = {key: value for key, value in ALL.items() if key != name}

    found = read(given | {f"{name}_FILE": str(file)})

    assert tuple(found.channels) == CHANNEL_NAMES
    slack, email = found.channels["slack"], found.channels["email"]
    assert isinstance(slack, SlackWebhook)
    assert slack.url.reveal() == ALL["KB_DR_SLACK_WEBHOOK_URL"]
    assert isinstance(email, Email)
    assert email.password is not None
    assert email.password.reveal() == SECRET


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_open_to_others_is_refused_unseen(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(ALL[name])
    file.chmod(0o644)
    given = {key: value for key, value in ALL.items() if key != name}

    said = refused(given | {f"{name}_FILE": str(file)})

    assert f"{name}_FILE" in said
    assert SECRET not in said


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_put_where_its_file_is_named_is_not_shown(name: str) -> None:
    said = refused({key: value for key, value in ALL.items() if key != name}
                   | {f"{name}_FILE": f"/{SECRET}"})  # fmt: skip

    assert SECRET not in said


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"KB_DR_SLACK_WEBHOOK_URL": SECRET}, "KB_DR_SLACK_WEBHOOK_URL"),
        ({"KB_DR_SLACK_WEBHOOK_URL": f"http://hooks.example/{SECRET}"}, "KB_DR_SLACK_WEBHOOK_URL"),
        ({"KB_DR_SLACK_WEBHOOK_URL": f"https://[{SECRET}"}, "KB_DR_SLACK_WEBHOOK_URL"),
        ({"KB_DR_WEBHOOK_URL": f"ftp://alerts.example/{SECRET}"}, "KB_DR_WEBHOOK_URL"),
        ({"KB_DR_SLACK_CHANNEL": ""}, "KB_DR_SLACK_CHANNEL"),
        ({"KB_DR_SLACK_BOT_TOKEN": ""}, "KB_DR_SLACK_CHANNEL"),
        ({"KB_DR_SLACK_API_URL": "http://slack.example/api/"}, "KB_DR_SLACK_API_URL"),
        ({"KB_DR_SMTP_HOST": ""}, "KB_DR_EMAIL_TO"),
        ({"KB_DR_EMAIL_TO": ""}, "KB_DR_EMAIL_TO"),
        ({"KB_DR_EMAIL_TO": "ops"}, "KB_DR_EMAIL_TO"),
        ({"KB_DR_SMTP_TLS": "off"}, "KB_DR_SMTP_TLS"),
        ({"KB_DR_SMTP_PORT": "0"}, "KB_DR_SMTP_PORT"),
        ({"KB_DR_SNS_TOPIC_ARN": "kb-dr"}, "KB_DR_SNS_TOPIC_ARN"),
        ({"KB_DR_PAGERDUTY_URL": "http://pager.example"}, "KB_DR_PAGERDUTY_URL"),
        ({"KB_DR_ALERT_CRITICAL": "slak"}, "KB_DR_ALERT_CRITICAL"),
        ({"KB_DR_ALERT_CRITICAL": "sns", "KB_DR_SNS_TOPIC_ARN": ""}, "KB_DR_ALERT_CRITICAL"),
        ({"KB_DR_ALERT_ESCALATE_MINUTES": "0"}, "KB_DR_ALERT_ESCALATE_MINUTES"),
        ({"KB_DR_ALERT_DIGEST_SCHEDULE": "weekly"}, "KB_DR_ALERT_DIGEST_SCHEDULE"),
        ({"KB_DR_ALERT_SUCCESSES": "maybe"}, "KB_DR_ALERT_SUCCESSES"),
    ],
)
def test_what_cannot_work_is_named_without_its_secret(changes: dict[str, str], named: str) -> None:
    said = refused(ALL | changes)

    assert named in said
    assert SECRET not in said


def test_nothing_read_prints_a_secret() -> None:
    assert SECRET not in repr(load_settings(ALL))


def test_mail_without_tls_stays_on_this_machine() -> None:
    found = read(ALL | {"KB_DR_SMTP_TLS": "off", "KB_DR_SMTP_HOST": "127.0.0.1"})

    email = found.channels["email"]
    assert isinstance(email, Email)
    assert (email.tls, email.port) == ("off", 587)


def test_tls_from_the_first_byte_has_a_port_of_its_own() -> None:
    email = read(ALL | {"KB_DR_SMTP_TLS": "tls"}).channels["email"]

    assert isinstance(email, Email)
    assert email.port == 465
