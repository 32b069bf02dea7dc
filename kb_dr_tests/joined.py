"""All parts joined: a protected service, its pages, its alerts, and every sink they go to."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dagster as dg

from kb_dr.adapters.clock import SystemClock
from kb_dr.definitions import build_definitions
from kb_dr.defs.alerts import alerts_go_out
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain.message import What
from kb_dr.domain.severity import Severity
from kb_dr.installation import Installation
from kb_dr_tests.object_stores import MotoStore
from kb_dr_tests.protected_service import ProtectedService
from kb_dr_tests.sinks import (
    Certificates,
    MailSink,
    PagerDutySink,
    SlackSink,
    SnsSink,
    WebhookSink,
)
from kb_dr_tests.sinks.mail_sink import PASSWORD, USER

Told = dict[str, Severity]
"""What was told of conditions: each with how bad it is said to be."""


@dataclass(frozen=True)
class Sinks:
    """One of each kind, at the other end of every channel but the bot's."""

    slack: SlackSink
    mail: MailSink
    sns: SnsSink
    pagerduty: PagerDutySink
    webhook: WebhookSink

    @property
    def settings(self) -> dict[str, str]:
        """What makes an installation tell them."""
        return {
            "KB_DR_SLACK_WEBHOOK_URL": self.slack.webhook_url,
            "KB_DR_EMAIL_TO": "ops@example.org",
            "KB_DR_EMAIL_FROM": "kb-dr@example.org",
            "KB_DR_SMTP_HOST": "localhost",
            "KB_DR_SMTP_PORT": str(self.mail.port),
            "KB_DR_SMTP_USER": USER,
            "KB_DR_SMTP_PASSWORD": PASSWORD,
            "KB_DR_SNS_TOPIC_ARN": self.sns.topic_arn,
            "KB_DR_SNS_ENDPOINT_URL": self.sns.url,
            "KB_DR_PAGERDUTY_ROUTING_KEY": self.pagerduty.routing_key,
            "KB_DR_PAGERDUTY_URL": self.pagerduty.url,
            "KB_DR_WEBHOOK_URL": self.webhook.webhook_url,
            "KB_DR_WEBHOOK_SECRET": self.webhook.secret or "",
        }

    def counts(self) -> dict[str, int]:
        """How many messages each has taken."""
        return {
            "slack": len(self.slack.messages),
            "email": len(self.mail.messages),
            "sns": len(self.sns.messages),
            "pagerduty": len(self.pagerduty.messages),
            "webhook": len(self.webhook.messages),
        }

    def forget(self) -> None:
        """What was taken so far; PagerDuty's incidents stay."""
        for each in (self.slack, self.mail, self.sns, self.pagerduty, self.webhook):
            each.forget()


@contextmanager
def all_sinks(certificates: Certificates, moto: MotoStore) -> Iterator[Sinks]:
    """One of each; mail by STARTTLS with a login."""
    with ExitStack() as stack:
        yield Sinks(
            slack=stack.enter_context(SlackSink()),
            mail=stack.enter_context(MailSink(certificates, tls="starttls", password=PASSWORD)),
            sns=stack.enter_context(SnsSink(moto)),
            pagerduty=stack.enter_context(PagerDutySink()),
            webhook=stack.enter_context(WebhookSink()),
        )


class _Ahead(SystemClock):
    """The present, or later: of those who deliver, so that a channel's minute is over."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class Joined:
    """The product's own definitions over a service, run by run and tick by tick."""

    service: ProtectedService
    instance: dg.DagsterInstance
    settings: dict[str, str]
    """Beside the service's own."""
    for_a_while: dict[str, str] = field(default_factory=dict)
    """Settings that runs are started with for now."""
    clock: Callable[[], SystemClock] = SystemClock
    """What runs look at."""

    def __post_init__(self) -> None:
        self._pace = _Ahead()
        self._alerting = self.service.opened(**self.settings)
        self._alerting.clock = self._pace
        self._cursor: str | None = None
        whole = build_definitions(InstallationDoor(self._opened), ScheduleTimes())
        # But its schedules: no daemon runs here, and each would be missed before long.
        self.definitions = dg.Definitions(
            assets=whole.assets,
            asset_checks=whole.asset_checks,
            jobs=whole.jobs,
            sensors=whole.sensors,
            resources=whole.resources,
            executor=whole.executor,
        )

    @property
    def alerting(self) -> Installation:
        """Who takes and delivers alerts; its thresholds are nobody's business."""
        return self._alerting

    def run(self, *jobs: str, partition: str | None = None) -> bool:
        """One run of each job; whether all succeeded."""
        done = [
            self.definitions.resolve_job_def(job).execute_in_process(
                instance=self.instance, raise_on_error=False, partition_key=partition
            )
            for job in jobs
        ]
        return all(each.success for each in done)

    def name_a_backup(self) -> str:
        """A partition for a full backup that starts now."""
        wanted = str(self._opened().new_backup_id())
        self.instance.add_dynamic_partitions(POSTGRES_BACKUPS, [wanted])
        return wanted

    def tick(self) -> str:
        """One tick of the sensor: what it answered."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self._cursor,
            definitions=self.definitions,
            resources={"door": InstallationDoor(lambda: self._alerting)},
        )
        said = alerts_go_out(context)
        assert isinstance(said, dg.SkipReason)
        self._cursor = context.cursor
        return said.skip_message or ""

    def a_minute_later(self) -> None:
        """For those who deliver: each channel takes so many a minute."""
        self._pace.ahead += timedelta(seconds=61)

    def _opened(self) -> Installation:
        opened = self.service.opened(**self.settings | self.for_a_while)
        opened.clock = self.clock()
        return opened


def heard_everywhere(sinks: Sinks, what: What) -> Told:
    """What was told since the sinks were made to forget; fails unless all say the same.

    All of it at Slack, by mail, SNS and webhook, each once; what is critical as an incident of
    PagerDuty, opened or resolved, and nothing else there.
    """
    messages = [each.content for each in sinks.webhook.messages]
    assert {each["what"] for each in messages} <= {what.value}, messages
    told = {each["dedup_key"]: Severity(each["severity"]) for each in messages}
    assert len(told) == len(messages), "each once"
    titles = Counter(each["title"] for each in messages)

    critical = {key for key, severity in told.items() if severity is Severity.CRITICAL}
    action = "resolve" if what is What.RECOVERED else "trigger"
    paged = Counter((each["event_action"], each["dedup_key"]) for each in sinks.pagerduty.messages)
    assert paged == Counter((action, f"kb/{key}") for key in critical)

    for name, shown in (
        ("slack", [each.blocks[0]["text"]["text"] for each in sinks.slack.messages]),
        ("mail", [str(each.message["Subject"]) for each in sinks.mail.messages]),
        ("sns", [each.text.split("\n", 1)[0] for each in sinks.sns.messages]),
    ):
        wanted = [_headline(each) for each in messages]
        assert len(shown) == len(wanted), (name, titles, shown)
        for line in wanted:
            assert sum(line in each for each in shown) == 1, (name, line, shown)
    assert all(each.tls for each in sinks.mail.messages)
    return told


def _headline(content: dict[str, str]) -> str:
    if content["what"] == What.RECOVERED:
        return f"kb: back to normal: {content['title']}"
    return f"{content['severity'].upper()} kb: {content['title']}"
