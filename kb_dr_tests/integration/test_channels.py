"""Every channel keeps the contract of the port, against a real server at its other end."""

from collections.abc import Iterator

import pytest

from kb_dr.adapters.channels.pagerduty import PagerDutyChannel
from kb_dr.adapters.channels.slack_bot import SlackBotChannel
from kb_dr.adapters.channels.slack_webhook import SlackWebhookChannel
from kb_dr.adapters.channels.smtp_mail import MailChannel
from kb_dr.adapters.channels.sns import SnsChannel
from kb_dr.adapters.channels.webhook import WebhookChannel
from kb_dr.adapters.clock import SystemClock
from kb_dr.ports import Channel
from kb_dr.settings import Email, PagerDuty, Secret, SlackBot, SlackWebhook, Sns, Webhook
from kb_dr_tests.contracts.channel_contract import (
    DEADLINE,
    PATIENCE,
    ChannelContract,
    PacedChannelContract,
    Wired,
)
from kb_dr_tests.made_messages import AT
from kb_dr_tests.object_stores import MotoStore
from kb_dr_tests.sinks import (
    Certificates,
    MailSink,
    PagerDutySink,
    SlackSink,
    SnsSink,
    WebhookSink,
    status,
)
from kb_dr_tests.sinks.mail_sink import PASSWORD, USER
from kb_dr_tests.sinks.sns_sink import SECRET_ACCESS_KEY
from kb_dr_tests.sinks.webhook_sink import SECRET

CLOCK = SystemClock()


class TestSlackWebhook(PacedChannelContract):
    @pytest.fixture
    def wired(self, slack_sink: SlackSink) -> Wired:
        def hook(url: str, seconds: float = PATIENCE) -> Channel:
            return SlackWebhookChannel(SlackWebhook(Secret(url)), CLOCK, seconds=seconds)

        return Wired(
            hook(slack_sink.webhook_url),
            hook(slack_sink.webhook_url, DEADLINE),
            hook(f"{slack_sink.url}/services/T0/B0/hush-wrong-hush"),
            slack_sink,
            ("hush", "/services/"),
            refusal=status(400, body="invalid_blocks"),
        )


class TestSlackBot(PacedChannelContract):
    @pytest.fixture
    def wired(self, slack_sink: SlackSink) -> Wired:
        slack_sink.at(AT.timestamp())
        slack_sink.per_page = 1

        def bot(token: str, seconds: float = PATIENCE) -> Channel:
            settings = SlackBot(Secret(token), slack_sink.channel, slack_sink.api_url)
            return SlackBotChannel(settings, CLOCK, seconds=seconds)

        return Wired(
            bot(slack_sink.token),
            bot(slack_sink.token, DEADLINE),
            bot("xoxb-hush-wrong"),
            slack_sink,
            ("xoxb", "hush"),
            refusal=status(200, body='{"ok": false, "error": "invalid_blocks"}'),
            shows_once=True,
        )


class TestMail(ChannelContract):
    @pytest.fixture(params=["starttls", "tls"])
    def wired(
        self,
        request: pytest.FixtureRequest,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Wired]:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        with MailSink(certificates, tls=request.param, password=PASSWORD) as sink:

            def mail(password: str, seconds: float = PATIENCE) -> Channel:
                settings = Email(
                    "localhost", sink.port, request.param, USER, Secret(password),
                    "kb-dr@example.org", ("ops@example.org", "dba@example.org"),
                )  # fmt: skip
                return MailChannel(settings, CLOCK, seconds=seconds)

            yield Wired(
                mail(PASSWORD),
                mail(PASSWORD, DEADLINE),
                mail("hush-wrong"),
                sink,
                (PASSWORD, "hush"),
                busy=status(451),
                refusal=status(554),
            )


class TestSns(PacedChannelContract):
    @pytest.fixture(scope="class", params=[False, True], ids=["plain", "fifo"])
    @classmethod
    def topic(cls, request: pytest.FixtureRequest, moto_store: MotoStore) -> Iterator[Wired]:
        """One for all: clients of boto3 take long to make. Each reads its key when it is made."""
        invalid = "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>"
        with SnsSink(moto_store, fifo=request.param) as sink:
            settings = Sns(sink.topic_arn, "us-east-1", sink.url)

            def topic(key: str | None, seconds: float = PATIENCE) -> Channel:
                channel = SnsChannel(settings, CLOCK, seconds=seconds)
                with pytest.MonkeyPatch.context() as environment:
                    for name, value in sink.environment.items():
                        environment.setenv(name, value)
                    if key is not None:
                        environment.setenv("AWS_ACCESS_KEY_ID", key)
                    assert channel._client.meta.region_name == "us-east-1"
                return channel

            yield Wired(
                topic(None),
                topic(None, DEADLINE),
                topic("AKIAHUSHWRONG"),
                sink,
                (SECRET_ACCESS_KEY, "AKIA", "hush"),
                refusal=status(400, body=invalid),
                shows_once=request.param,
            )

    @pytest.fixture
    def wired(self, topic: Wired) -> Iterator[Wired]:
        yield topic
        topic.sink.heal()
        topic.sink.forget()


class TestPagerDuty(PacedChannelContract):
    @pytest.fixture
    def wired(self, pagerduty_sink: PagerDutySink) -> Wired:
        def pager(key: str, seconds: float = PATIENCE) -> Channel:
            settings = PagerDuty(Secret(key), pagerduty_sink.url)
            return PagerDutyChannel(settings, CLOCK, seconds=seconds)

        return Wired(
            pager(pagerduty_sink.routing_key),
            pager(pagerduty_sink.routing_key, DEADLINE),
            pager("f" * 32),
            pagerduty_sink,
            (pagerduty_sink.routing_key, "f" * 32),
        )


class TestWebhook(PacedChannelContract):
    @pytest.fixture
    def wired(self, webhook_sink: WebhookSink) -> Wired:
        def hook(secret: str, seconds: float = PATIENCE) -> Channel:
            settings = Webhook(Secret(webhook_sink.webhook_url), Secret(secret))
            return WebhookChannel(settings, CLOCK, seconds=seconds)

        return Wired(
            hook(SECRET), hook(SECRET, DEADLINE), hook("hush-wrong"), webhook_sink,
            ("hush", "/hooks/"),
        )  # fmt: skip
