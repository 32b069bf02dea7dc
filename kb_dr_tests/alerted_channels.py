"""Every channel but SNS, configured as settings have them, with a sink at the other end of each."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kb_dr.adapters.channels.pagerduty import PagerDutyChannel
from kb_dr.adapters.channels.slack_bot import SlackBotChannel
from kb_dr.adapters.channels.slack_webhook import SlackWebhookChannel
from kb_dr.adapters.channels.smtp_mail import MailChannel
from kb_dr.adapters.channels.webhook import WebhookChannel
from kb_dr.ports import Channel, Clock
from kb_dr.settings.alerting import ChannelSettings, Email, PagerDuty, SlackBot, SlackWebhook
from kb_dr.settings.alerting import Webhook as WebhookSettings
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.sinks import MailSink, PagerDutySink, SlackSink, WebhookSink
from kb_dr_tests.sinks.webhook_sink import SECRET

PATIENCE = 60.0
"""Of a channel, in seconds: a starved machine is slow, not broken."""


@dataclass(frozen=True, slots=True)
class Sinks:
    """What people look at."""

    slack: SlackSink
    """At the other end of the webhook."""
    bot: SlackSink
    mail: MailSink
    pager: PagerDutySink
    hook: WebhookSink

    @property
    def settings(self) -> dict[str, str]:
        """What leads to them."""
        return {
            "KB_DR_SLACK_WEBHOOK_URL": self.slack.webhook_url,
            "KB_DR_SLACK_BOT_TOKEN": self.bot.token,
            "KB_DR_SLACK_CHANNEL": self.bot.channel,
            "KB_DR_SLACK_API_URL": self.bot.api_url,
            "KB_DR_EMAIL_TO": "ops@example.org",
            "KB_DR_EMAIL_FROM": "kb-dr@example.org",
            "KB_DR_SMTP_HOST": self.mail.host,
            "KB_DR_SMTP_PORT": str(self.mail.port),
            "KB_DR_SMTP_TLS": "off",
            "KB_DR_PAGERDUTY_ROUTING_KEY": self.pager.routing_key,
            "KB_DR_PAGERDUTY_URL": self.pager.url,
            "KB_DR_WEBHOOK_URL": self.hook.webhook_url,
            "KB_DR_WEBHOOK_SECRET": SECRET,
        }

    def forget(self) -> None:
        """Forget what was taken."""
        for each in (self.slack, self.bot, self.mail, self.pager, self.hook):
            each.forget()

    def said(self) -> dict[str, list[str]]:
        """Sink to the one line each message begins with, in the order they came."""
        return {
            "slack": [each.text for each in self.slack.messages],
            "bot": [each.text for each in self.bot.messages],
            "mail": [str(each.message["Subject"]) for each in self.mail.messages],
            "pager": [
                f"{each['event_action']} {each['dedup_key']}" for each in self.pager.messages
            ],
            "hook": [
                f"{each.content['what']} {each.content['title']}" for each in self.hook.messages
            ],
        }

    def of(self, word: str) -> dict[str, list[str]]:
        """The same of those messages that have this word in them."""
        return {name: [each for each in said if word in each] for name, said in self.said().items()}


@contextmanager
def all_sinks() -> Iterator[Sinks]:
    """One of each."""
    with ExitStack() as stack:
        yield Sinks(
            stack.enter_context(SlackSink()),
            stack.enter_context(SlackSink()),
            stack.enter_context(MailSink()),
            stack.enter_context(PagerDutySink()),
            stack.enter_context(WebhookSink()),
        )


def installed(
    directory: Path, settings: dict[str, str], *, catalog_url: str = "", seconds: float = PATIENCE
) -> MadeInstallation:
    """An installation with these channels, which give up after so many seconds."""
    made = MadeInstallation(directory, catalog_url=catalog_url, settings=settings)
    made.channels = tuple(
        _channel(each, made.clock, seconds) for each in made.settings.alerting.channels.values()
    )
    return made


def _channel(settings: ChannelSettings, clock: Clock, seconds: float) -> Channel:
    match settings:
        case SlackWebhook():
            return SlackWebhookChannel(settings, clock, seconds=seconds)
        case SlackBot():
            return SlackBotChannel(settings, clock, seconds=seconds)
        case Email():
            return MailChannel(settings, clock, seconds=seconds)
        case PagerDuty():
            return PagerDutyChannel(settings, clock, seconds=seconds)
        case WebhookSettings():
            return WebhookChannel(settings, clock, seconds=seconds)
        case _:
            raise AssertionError(settings)
