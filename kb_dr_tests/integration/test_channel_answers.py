"""What single channels do beyond the contract: threads, incidents, scopes, signatures, trust."""

import hashlib
import hmac
from datetime import timedelta

import pytest

from kb_dr.adapters.channels.http_place import HttpPlace
from kb_dr.adapters.channels.pagerduty import PagerDutyChannel, dedup_key
from kb_dr.adapters.channels.slack_bot import SlackBotChannel
from kb_dr.adapters.channels.slack_webhook import SlackWebhookChannel
from kb_dr.adapters.channels.smtp_mail import MailChannel
from kb_dr.adapters.channels.webhook import WebhookChannel
from kb_dr.adapters.clock import SystemClock
from kb_dr.domain.message import What
from kb_dr.domain.severity import Severity
from kb_dr.errors import AlertError, ChannelRefused, ChannelUnavailable, MessageRefused
from kb_dr.settings import Email, PagerDuty, Secret, SlackBot, SlackWebhook, Webhook
from kb_dr_tests.made_messages import AT, made_message
from kb_dr_tests.sinks import (
    Certificates,
    MailSink,
    PagerDutySink,
    SlackSink,
    WebhookSink,
    status,
)

CLOCK = SystemClock()


def bot(sink: SlackSink) -> SlackBotChannel:
    return SlackBotChannel(
        SlackBot(Secret(sink.token), sink.channel, sink.api_url), CLOCK, seconds=60
    )


def mail(
    sink: MailSink, *, tls: str = "", user: str = "", password: Secret | None = None
) -> MailChannel:
    settings = Email(
        "localhost", sink.port, tls or sink.tls, user, password,
        "kb-dr@example.org", ("ops@example.org", "dba@example.org"),
    )  # fmt: skip
    return MailChannel(settings, CLOCK, seconds=60)


def test_a_bot_finds_what_it_posted_behind_many_others(slack_sink: SlackSink) -> None:
    slack_sink.at(AT.timestamp())
    slack_sink.per_page = 2
    for number in range(5):
        bot(slack_sink).send(made_message(id=f"m{number}"), tried_since=None)

    found = bot(slack_sink).send(made_message(id="m0"), tried_since=AT)

    assert found == slack_sink.messages[0].ts
    assert len(slack_sink.messages) == 5


def test_a_bot_finds_it_though_slacks_clock_is_behind(slack_sink: SlackSink) -> None:
    slack_sink.at((AT - timedelta(minutes=5)).timestamp())
    bot(slack_sink).send(made_message(), tried_since=None)

    bot(slack_sink).send(made_message(), tried_since=AT)

    assert len(slack_sink.messages) == 1


def test_a_bot_that_may_not_read_posts_twice_rather_than_never(slack_sink: SlackSink) -> None:
    slack_sink.scopes = ("chat:write",)

    bot(slack_sink).send(made_message(), tried_since=AT)

    assert len(slack_sink.messages) == 1


@pytest.mark.parametrize(
    ("scopes", "member", "channel", "hint"),
    [
        (("channels:history",), True, None, "chat:write"),
        (("chat:write",), True, None, "channels:history"),
        (("chat:write", "channels:history"), False, None, "Invite the bot"),
        (("chat:write", "channels:history"), True, "C0GONE", "KB_DR_SLACK_CHANNEL"),
    ],
)
def test_a_bots_check_names_what_is_missing(
    slack_sink: SlackSink, scopes: tuple[str, ...], member: bool, channel: str | None, hint: str
) -> None:
    tried = bot(slack_sink)
    slack_sink.scopes, slack_sink.member = scopes, member
    slack_sink.channel = channel or slack_sink.channel

    with pytest.raises(ChannelRefused) as caught:
        tried.check()

    assert hint in caught.value.hint


def test_a_page_of_somebody_else_is_no_success_of_slack(slack_sink: SlackSink) -> None:
    slack_sink.answer_always(status(200, body="<html>please log in</html>"))

    hook = SlackWebhookChannel(SlackWebhook(Secret(slack_sink.webhook_url)), CLOCK)
    for channel in (bot(slack_sink), hook):
        with pytest.raises(ChannelRefused):
            channel.send(made_message(), tried_since=None)


@pytest.mark.parametrize(
    ("code", "word", "kind"),
    [
        (403, "invalid_token", ChannelRefused),
        (404, "channel_not_found", ChannelRefused),
        (410, "channel_is_archived", ChannelRefused),
        (400, "invalid_blocks", MessageRefused),
        (503, "fatal_error", ChannelUnavailable),
        (302, "found", ChannelRefused),
    ],
)
def test_what_a_slack_webhook_answers(
    slack_sink: SlackSink, code: int, word: str, kind: type[AlertError]
) -> None:
    channel = SlackWebhookChannel(SlackWebhook(Secret(slack_sink.webhook_url)), CLOCK)
    slack_sink.answer_always(status(code, body=word))

    with pytest.raises(kind):
        channel.send(made_message(), tried_since=None)
    if code != 400:
        with pytest.raises(kind):
            channel.check()


def test_an_incident_is_opened_acknowledged_and_closed(pagerduty_sink: PagerDutySink) -> None:
    channel = PagerDutyChannel(
        PagerDuty(Secret(pagerduty_sink.routing_key), pagerduty_sink.url), CLOCK, seconds=60
    )
    states = []
    for what in (What.OPENED, What.WORSE, What.ACKNOWLEDGED, What.REMINDER, What.RECOVERED):
        key = channel.send(made_message(what=what, id=what), tried_since=None)
        states.append(pagerduty_sink.incidents[key].state)

    assert states == ["triggered", "triggered", "acknowledged", "acknowledged", "resolved"]
    [incident] = pagerduty_sink.incidents.values()
    assert (incident.opened, incident.severity) == (1, "critical")
    assert incident.details["do"].startswith("`kb-dr status`")
    assert [link["text"] for link in incident.links] == ["Runbook", "Run"]


def test_a_digest_pages_nobody_and_a_test_closes_itself(pagerduty_sink: PagerDutySink) -> None:
    channel = PagerDutyChannel(
        PagerDuty(Secret(pagerduty_sink.routing_key), pagerduty_sink.url), CLOCK, seconds=60
    )

    channel.send(made_message(what=What.TOLD, kind="weekly_digest"), tried_since=None)
    assert pagerduty_sink.messages == ()
    channel.send(made_message(what=What.TOLD, kind="channel_test"), tried_since=None)

    actions = [event["event_action"] for event in pagerduty_sink.wait_for(2)]
    assert actions == ["trigger", "resolve"]


def test_keys_of_incidents_fit_and_stay_apart() -> None:
    long = [dedup_key("kb", "x" * 300 + end) for end in ("a", "b")]

    assert all(len(key) <= 255 for key in long)
    assert len({*long, dedup_key("kb", "a"), dedup_key("other", "a")}) == 4


def test_mails_of_one_alert_form_one_thread(mail_sink: MailSink) -> None:
    for what in (What.OPENED, What.RECOVERED):
        mail(mail_sink).send(made_message(what=what, id=f"a1b2-{what}"), tried_since=None)
    mail(mail_sink).send(made_message(alert_id="c3d4", id="c3d4-1"), tried_since=None)

    opened, recovered, other = (one.message for one in mail_sink.messages)
    assert opened["References"] == recovered["References"] != other["References"]
    assert len({opened["Message-ID"], recovered["Message-ID"], other["Message-ID"]}) == 3
    assert "🟢" in recovered["Subject"]
    assert opened["Auto-Submitted"] == "auto-generated"


def test_a_mail_is_the_same_when_it_comes_again(mail_sink: MailSink) -> None:
    receipts = {mail(mail_sink).send(made_message(), tried_since=None) for _ in range(2)}

    assert receipts == {mail_sink.messages[0].message["Message-ID"]}


def test_a_mail_holds_what_happened_in_both_its_forms(mail_sink: MailSink) -> None:
    mail(mail_sink).send(made_message(happened="a < b & 5400 s"), tried_since=None)

    [received] = mail_sink.messages
    assert "a < b & 5400 s" in received.text
    assert "a &lt; b &amp; 5400 s" in received.html
    assert "kb-dr alerts ack a1b2" in received.text
    assert received.to == ("ops@example.org", "dba@example.org")


def test_one_wrong_recipient_keeps_no_mail_from_the_others(mail_sink: MailSink) -> None:
    mail_sink.refused.add("dba@example.org")

    mail(mail_sink).send(made_message(), tried_since=None)

    assert [received.to for received in mail_sink.messages] == [("ops@example.org",)]
    with pytest.raises(ChannelRefused, match=r"dba@example\.org"):
        mail(mail_sink).check()
    mail_sink.refused.add("ops@example.org")
    with pytest.raises(ChannelRefused, match="every recipient"):
        mail(mail_sink).send(made_message(), tried_since=None)


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_no_mail_goes_where_the_certificate_is_not_trusted(
    certificates: Certificates, tls: str
) -> None:
    with MailSink(certificates, tls=tls) as sink:
        with pytest.raises(ChannelRefused, match="certificate is not trusted"):
            mail(sink).send(made_message(), tried_since=None)
        with pytest.raises(ChannelRefused, match="certificate is not trusted"):
            mail(sink).check()
        assert sink.messages == ()


def test_no_password_goes_to_a_server_without_tls(mail_sink: MailSink) -> None:
    channel = mail(mail_sink, tls="starttls", user="kb-dr", password=Secret("hush"))

    with pytest.raises(ChannelRefused):
        channel.send(made_message(), tried_since=None)


def test_nothing_is_posted_where_the_certificate_is_not_trusted(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebhookSink(certificates) as sink:
        place = Secret(sink.webhook_url)
        channel = WebhookChannel(Webhook(place, Secret(sink.secret or "")), CLOCK, seconds=60)
        with pytest.raises(ChannelRefused, match="certificate is not trusted"):
            channel.send(made_message(), tried_since=None)
        assert sink.requests == []

        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        channel.send(made_message(), tried_since=None)
        assert "certificate is trusted" in channel.check()
        assert len(sink.messages) == 1


def test_the_signature_covers_the_moment_and_the_body(webhook_sink: WebhookSink) -> None:
    channel = WebhookChannel(
        Webhook(Secret(webhook_sink.webhook_url), Secret("s3")), CLOCK, seconds=60
    )
    webhook_sink.secret = None
    channel.send(made_message(lines=("é",)), tried_since=None)

    [request] = webhook_sink.requests
    covered = request.headers["x-kb-dr-timestamp"].encode() + b"." + request.body
    expected = hmac.new(b"s3", covered, hashlib.sha256).hexdigest()
    assert request.headers["x-kb-dr-signature"] == f"sha256={expected}"
    assert request.headers["x-kb-dr-delivery"] == "a1b2-1-opened"
    assert request.json["severity"] == Severity.CRITICAL
    assert request.json["lines"] == ["é"]


def test_a_redirection_is_not_followed(webhook_sink: WebhookSink) -> None:
    channel = WebhookChannel(Webhook(Secret(webhook_sink.webhook_url), None), CLOCK, seconds=60)
    webhook_sink.answer_next(status(307, location=f"{webhook_sink.url}/elsewhere"))

    with pytest.raises(ChannelRefused, match="redirection"):
        channel.send(made_message(), tried_since=None)

    assert len(webhook_sink.requests) == 1


def test_where_nobody_listens_a_channel_is_unavailable(webhook_sink: WebhookSink) -> None:
    with WebhookSink() as gone:
        url = gone.url
    place = HttpPlace("webhook", Secret(url), "KB_DR_WEBHOOK_URL", CLOCK, 60)

    with pytest.raises(ChannelUnavailable, match="refused"):
        place.reach()
