"""Settings of a channel to the channel; each is loaded only where it is configured."""

from kb_dr.ports import Channel, Clock
from kb_dr.settings.alerting import (
    ChannelSettings,
    Email,
    PagerDuty,
    SlackBot,
    SlackWebhook,
    Sns,
)


def build_channel(settings: ChannelSettings, clock: Clock) -> Channel:
    """The channel these settings describe."""
    if isinstance(settings, SlackWebhook):
        from kb_dr.adapters.channels.slack_webhook import SlackWebhookChannel

        return SlackWebhookChannel(settings, clock)
    if isinstance(settings, SlackBot):
        from kb_dr.adapters.channels.slack_bot import SlackBotChannel

        return SlackBotChannel(settings, clock)
    if isinstance(settings, Email):
        from kb_dr.adapters.channels.smtp_mail import MailChannel

        return MailChannel(settings, clock)
    if isinstance(settings, Sns):
        from kb_dr.adapters.channels.sns import SnsChannel

        return SnsChannel(settings, clock)
    if isinstance(settings, PagerDuty):
        from kb_dr.adapters.channels.pagerduty import PagerDutyChannel

        return PagerDutyChannel(settings, clock)
    from kb_dr.adapters.channels.webhook import WebhookChannel

    return WebhookChannel(settings, clock)
