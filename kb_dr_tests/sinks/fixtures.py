"""A sink of each kind for one test; certificates and moto for all."""

from collections.abc import Iterator

import pytest

from kb_dr_tests.object_stores import MotoStore
from kb_dr_tests.sinks.certificates import Certificates, made_certificates
from kb_dr_tests.sinks.mail_sink import MailSink
from kb_dr_tests.sinks.pagerduty_sink import PagerDutySink
from kb_dr_tests.sinks.slack_sink import SlackSink
from kb_dr_tests.sinks.sns_sink import SnsSink
from kb_dr_tests.sinks.webhook_sink import WebhookSink


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    """For sinks that speak TLS; a client trusts them with SSL_CERT_FILE."""
    with made_certificates() as made:
        yield made


@pytest.fixture
def slack_sink() -> Iterator[SlackSink]:
    with SlackSink() as sink:
        yield sink


@pytest.fixture
def pagerduty_sink() -> Iterator[PagerDutySink]:
    with PagerDutySink() as sink:
        yield sink


@pytest.fixture
def webhook_sink() -> Iterator[WebhookSink]:
    with WebhookSink() as sink:
        yield sink


@pytest.fixture
def mail_sink() -> Iterator[MailSink]:
    """Without TLS or login."""
    with MailSink() as sink:
        yield sink


@pytest.fixture
def sns_sink(moto_store: MotoStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[SnsSink]:
    """With its key in the environment, where the AWS chain finds it."""
    with SnsSink(moto_store) as sink:
        for name, value in sink.environment.items():
            monkeypatch.setenv(name, value)
        yield sink
