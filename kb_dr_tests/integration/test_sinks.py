"""The sinks speak as the services do: their own clients, not ours, understand them."""

import smtplib
import ssl

import pytest
import requests
from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError

from kb_dr_tests.sinks import (
    DRIP,
    DROP,
    HANG,
    LOSE_ANSWER,
    Certificates,
    MailSink,
    PagerDutySink,
    SlackSink,
    SnsSink,
    WebhookSink,
    status,
    too_many,
)
from kb_dr_tests.sinks.mail_sink import PASSWORD, USER

BLOCKS = [{"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}]


def test_slacks_own_client_posts_and_finds_what_it_posted(slack_sink: SlackSink) -> None:
    client = WebClient(slack_sink.token, base_url=slack_sink.api_url)
    metadata = {"event_type": "made", "event_payload": {"message_id": "m1"}}

    posted = client.chat_postMessage(
        channel=slack_sink.channel, text="hello", blocks=BLOCKS, metadata=metadata
    )
    found = client.conversations_history(
        channel=slack_sink.channel, oldest="0", include_all_metadata=True
    )

    assert client.auth_test()["ok"]
    assert [each["ts"] for each in found["messages"]] == [posted["ts"]]
    assert found["messages"][0]["metadata"] == metadata
    assert slack_sink.messages[0].words == "hello"


def test_slack_refuses_what_slack_refuses(slack_sink: SlackSink) -> None:
    client = WebClient(slack_sink.token, base_url=slack_sink.api_url)
    long = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]
    refused = []
    for token, channel, blocks in (
        ("xoxb-other", slack_sink.channel, BLOCKS),
        (slack_sink.token, "C0OTHER", BLOCKS),
        (slack_sink.token, slack_sink.channel, long),
        (slack_sink.token, slack_sink.channel, BLOCKS * 51),
    ):
        with pytest.raises(SlackApiError) as caught:
            client.chat_postMessage(token=token, channel=channel, text="x", blocks=blocks)
        refused.append(caught.value.response["error"])

    assert refused == ["invalid_auth", "channel_not_found", "invalid_blocks", "invalid_blocks"]
    assert WebhookClient(slack_sink.webhook_url).send(text="x", blocks=long).status_code == 400
    assert WebhookClient(slack_sink.webhook_url).send(text="x").body == "ok"


def test_an_http_sink_answers_as_it_was_told(webhook_sink: WebhookSink) -> None:
    webhook_sink.secret = None
    webhook_sink.answer_next(status(500), too_many(7), DROP, LOSE_ANSWER, HANG, DRIP)

    def post() -> requests.Response:
        return requests.post(
            webhook_sink.webhook_url, json={}, headers={"X-KB-DR-Delivery": "1"}, timeout=0.3
        )

    assert post().status_code == 500
    assert post().headers["Retry-After"] == "7"
    for _ in range(3):
        with pytest.raises(requests.RequestException):
            post()
    assert len(webhook_sink.messages) == 1  # the one whose answer was lost
    with pytest.raises(requests.RequestException):
        requests.post(webhook_sink.webhook_url, stream=True, timeout=0.1)
    assert post().status_code == 200


def test_pagerduty_keeps_one_incident_for_a_key(pagerduty_sink: PagerDutySink) -> None:
    def send(action: str, key: str = pagerduty_sink.routing_key) -> int:
        payload = {"summary": "s", "source": "kb", "severity": "critical"}
        event = {"routing_key": key, "event_action": action, "dedup_key": "k", "payload": payload}
        return requests.post(f"{pagerduty_sink.url}/v2/enqueue", json=event, timeout=5).status_code

    assert send("trigger", "other") == 400
    assert [send(each) for each in ("trigger", "trigger", "acknowledge", "resolve")] == [202] * 4
    assert pagerduty_sink.incidents["k"].times == 2
    assert pagerduty_sink.open_incidents() == ()


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_the_mail_server_shows_its_certificate_and_asks_for_a_login(
    certificates: Certificates, tls: str
) -> None:
    trust = ssl.create_default_context(cafile=str(certificates.authority))
    with MailSink(certificates, tls=tls, password=PASSWORD) as sink:
        if tls == "tls":
            client: smtplib.SMTP = smtplib.SMTP_SSL(sink.host, sink.port, context=trust)
        else:
            client = smtplib.SMTP(sink.host, sink.port)
            client.starttls(context=trust)
        with client:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login(USER, "wrong")
            client.login(USER, PASSWORD)
            client.sendmail("a@b", ["c@d"], "Subject: hello\n\nwords")

        assert sink.messages[0].message["Subject"] == "hello"
        assert sink.messages[0].tls


def test_a_topic_passes_on_what_it_takes(sns_sink: SnsSink) -> None:
    import boto3

    client = boto3.client("sns", endpoint_url=sns_sink.url, region_name="us-east-1")
    published = client.publish(
        TopicArn=sns_sink.topic_arn,
        Subject="hello",
        Message="words",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "made"}},
    )

    assert sns_sink.messages[0].id == published["MessageId"]
    assert sns_sink.messages[0].attributes == {"kind": "made"}
