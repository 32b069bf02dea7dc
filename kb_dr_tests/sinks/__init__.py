"""Local servers that alerts are sent to in tests: they answer well, badly, late or not at all.

Each is a context manager with ``url``, ``messages`` (what was taken and would be shown, oldest
first), ``answer_next(...)``, ``answer_always(...)`` and ``wait_for(count)``.
"""

from kb_dr_tests.sinks.answers import (
    DRIP,
    DROP,
    HANG,
    LOSE_ANSWER,
    OK,
    Answer,
    status,
    too_many,
)
from kb_dr_tests.sinks.certificates import Certificates, made_certificates
from kb_dr_tests.sinks.http_sink import HttpSink, Request
from kb_dr_tests.sinks.mail_sink import MailSink, ReceivedMail
from kb_dr_tests.sinks.pagerduty_sink import Incident, PagerDutySink
from kb_dr_tests.sinks.slack_sink import SlackMessage, SlackSink
from kb_dr_tests.sinks.sns_sink import ReceivedNotification, SnsSink
from kb_dr_tests.sinks.webhook_sink import Delivery, WebhookSink

__all__ = [
    "DRIP",
    "DROP",
    "HANG",
    "LOSE_ANSWER",
    "OK",
    "Answer",
    "Certificates",
    "Delivery",
    "HttpSink",
    "Incident",
    "MailSink",
    "PagerDutySink",
    "ReceivedMail",
    "ReceivedNotification",
    "Request",
    "SlackMessage",
    "SlackSink",
    "SnsSink",
    "WebhookSink",
    "made_certificates",
    "status",
    "too_many",
]
