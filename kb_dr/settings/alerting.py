"""Alert channels: which there are, and who is told what."""

from dataclasses import dataclass

from kb_dr.domain.severity import Severity
from kb_dr.settings.addresses import is_address, read_address, read_secret
from kb_dr.settings.hosts import is_local
from kb_dr.settings.reader import Reader
from kb_dr.settings.secret import Secret

CHANNEL_NAMES = ("slack", "slack-bot", "email", "sns", "pagerduty", "webhook")
"""In the order they are tried and shown."""

_LOUD = tuple(name for name in CHANNEL_NAMES if name != "pagerduty")


@dataclass(frozen=True, slots=True)
class SlackWebhook:
    """An incoming webhook: at least once, nothing can be asked."""

    url: Secret


@dataclass(frozen=True, slots=True)
class SlackBot:
    """A bot that may post to a channel, and read it: each message is shown once."""

    token: Secret
    channel: str
    """Its id, such as C0123456789."""
    api_url: str


@dataclass(frozen=True, slots=True)
class Email:
    """Mail over SMTP."""

    host: str
    port: int
    tls: str
    """``starttls``, ``tls`` (from the first byte) or, on loopback alone, ``off``."""
    user: str
    password: Secret | None
    sender: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sns:
    """A topic of Amazon SNS; keys come from the AWS chain."""

    topic_arn: str
    region: str
    endpoint_url: str | None


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """PagerDuty's Events API v2."""

    routing_key: Secret
    url: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """Any address, with a signature over what is sent."""

    url: Secret
    secret: Secret | None


ChannelSettings = SlackWebhook | SlackBot | Email | Sns | PagerDuty | Webhook


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Who is told, and when again."""

    channels: dict[str, ChannelSettings]
    """Those configured, by name, in the order of CHANNEL_NAMES."""
    routes: dict[Severity, tuple[str, ...]]
    """Severity to the channels told of it; of those configured alone."""
    escalate_seconds: float
    """A critical alert nobody acknowledged is told again, louder, after so long."""
    warning_seconds: float
    """A warning that lasts so long becomes critical."""
    remind_seconds: float
    """An alert that lasts is told again so often."""
    grace_seconds: float
    """So long a check that cannot tell is yellow; then it is red."""
    successes: bool
    """Whether successes are told as well."""
    digest_schedule: str | None
    """When the weekly digest is sent; None: never."""
    pages_url: str
    """Where Dagster's pages are, for links; empty: none."""
    documents_url: str
    """Where docs/ of this repository is shown; empty: paths are given instead."""


def read_alerting(reader: Reader) -> AlertSettings:
    """The alerting of the settings. Problems are the reader's; no value is ever shown in one."""
    found: dict[str, ChannelSettings | None] = {
        "slack": _slack(reader),
        "slack-bot": _slack_bot(reader),
        "email": _email(reader),
        "sns": _sns(reader),
        "pagerduty": _pagerduty(reader),
        "webhook": _webhook(reader),
    }
    channels = {name: each for name, each in found.items() if each is not None}
    return AlertSettings(
        channels=channels,
        routes={
            Severity.CRITICAL: _route(reader, "KB_DR_ALERT_CRITICAL", CHANNEL_NAMES, channels),
            Severity.WARNING: _route(reader, "KB_DR_ALERT_WARNING", _LOUD, channels),
            Severity.INFO: _route(reader, "KB_DR_ALERT_INFO", _LOUD[:3], channels),
        },
        escalate_seconds=reader.number("KB_DR_ALERT_ESCALATE_MINUTES", 15, 0.01) * 60,
        warning_seconds=reader.number("KB_DR_ALERT_WARNING_HOURS", 24, 0.001) * 3600,
        remind_seconds=reader.number("KB_DR_ALERT_REMIND_HOURS", 24, 0.001) * 3600,
        grace_seconds=reader.number("KB_DR_ALERT_GRACE_MINUTES", 15, 0) * 60,
        successes=reader.switch("KB_DR_ALERT_SUCCESSES", default=False),
        digest_schedule=reader.cron_or_off("KB_DR_ALERT_DIGEST_SCHEDULE", "0 8 * * 1"),
        pages_url=read_address(reader, "KB_DR_DAGSTER_URL").rstrip("/"),
        documents_url=read_address(reader, "KB_DR_DOCUMENTS_URL").rstrip("/"),
    )


def _slack(reader: Reader) -> SlackWebhook | None:
    url = read_secret(reader, "KB_DR_SLACK_WEBHOOK_URL")
    return SlackWebhook(url) if url and is_address(reader, "KB_DR_SLACK_WEBHOOK_URL", url) else None


def _slack_bot(reader: Reader) -> SlackBot | None:
    token = read_secret(reader, "KB_DR_SLACK_BOT_TOKEN")
    channel = reader.text("KB_DR_SLACK_CHANNEL", "")
    api = read_address(reader, "KB_DR_SLACK_API_URL", "https://slack.com/api/")
    if token is None and not channel:
        return None
    if token is None or not channel:
        reader.problem("KB_DR_SLACK_CHANNEL", "a bot's token without a channel, or the reverse",
                       "both")  # fmt: skip
        return None
    return SlackBot(token, channel, api)


def _email(reader: Reader) -> Email | None:
    to = reader.words("KB_DR_EMAIL_TO")
    host = reader.text("KB_DR_SMTP_HOST", "")
    tls = reader.text("KB_DR_SMTP_TLS", "starttls").lower()
    port = reader.whole("KB_DR_SMTP_PORT", 465 if tls == "tls" else 587, 1, 65535)
    user = reader.text("KB_DR_SMTP_USER", "")
    password = read_secret(reader, "KB_DR_SMTP_PASSWORD")
    sender = reader.text("KB_DR_EMAIL_FROM", user)
    if not to and not host:
        return None
    if not to or not host or not sender:
        reader.problem("KB_DR_EMAIL_TO", "mail half described",
                       "KB_DR_EMAIL_TO, KB_DR_EMAIL_FROM and KB_DR_SMTP_HOST")  # fmt: skip
        return None
    if tls in ("off", "false") and is_local(host):
        tls = "off"
    elif tls not in ("starttls", "tls"):
        reader.problem("KB_DR_SMTP_TLS", f"{tls!r} to {host}", "starttls or tls")
    if any("@" not in each for each in (*to, sender)):
        reader.problem("KB_DR_EMAIL_TO", "something that is no address", "name@domain")
    return Email(host, port, tls, user, password, sender, to)


def _sns(reader: Reader) -> Sns | None:
    arn = reader.text("KB_DR_SNS_TOPIC_ARN", "")
    endpoint = read_address(reader, "KB_DR_SNS_ENDPOINT_URL") or None
    if not arn:
        return None
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "sns":
        reader.problem("KB_DR_SNS_TOPIC_ARN", "not a topic", "arn:aws:sns:region:account:name")
        return None
    return Sns(arn, parts[3], endpoint)


def _pagerduty(reader: Reader) -> PagerDuty | None:
    key = read_secret(reader, "KB_DR_PAGERDUTY_ROUTING_KEY")
    url = read_address(reader, "KB_DR_PAGERDUTY_URL", "https://events.pagerduty.com")
    return PagerDuty(key, url.rstrip("/")) if key else None


def _webhook(reader: Reader) -> Webhook | None:
    url = read_secret(reader, "KB_DR_WEBHOOK_URL")
    secret = read_secret(reader, "KB_DR_WEBHOOK_SECRET")
    if url is None or not is_address(reader, "KB_DR_WEBHOOK_URL", url):
        return None
    return Webhook(url, secret)


def _route(
    reader: Reader, name: str, default: tuple[str, ...], channels: dict[str, ChannelSettings]
) -> tuple[str, ...]:
    wanted = reader.words(name)
    if wanted in (("none",), ("off",), ("false",)):  # YAML reads a bare off as false
        return ()
    unknown = [each for each in wanted if each not in CHANNEL_NAMES and each != "all"]
    if unknown:
        reader.problem(name, repr(unknown[0]), f"all, none, or some of {', '.join(CHANNEL_NAMES)}")
    told = CHANNEL_NAMES if "all" in wanted else (wanted or default)
    silent = [each for each in wanted if each in CHANNEL_NAMES and each not in channels]
    if silent:
        reader.problem(name, f"{silent[0]} is not configured", "a channel that is")
    return tuple(each for each in CHANNEL_NAMES if each in told and each in channels)
