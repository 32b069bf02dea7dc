"""SNS: moto's, behind a door that can answer badly, with a queue that shows what arrived."""

import json
import re
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs
from uuid import uuid4

import boto3
from botocore.config import Config

from kb_dr_tests.sinks.http_sink import HttpSink, Reply, Request

if TYPE_CHECKING:
    from kb_dr_tests.object_stores import MotoStore

ACCESS_KEY_ID = "AKIAKBDRTESTSSNS"
SECRET_ACCESS_KEY = "hush-sns-secret-0123456789"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class ReceivedNotification:
    """One notification as a subscriber gets it."""

    id: str
    subject: str
    text: str
    attributes: dict[str, str]


class SnsSink(HttpSink[ReceivedNotification]):
    """A topic of its own with a queue subscribed; ``url`` is the endpoint, ``topic_arn`` the topic.

    Answers are given to every call, also to one that only asks. It knows one key alone: set
    ``environment`` before boto3 looks for keys.
    """

    def __init__(self, moto: "MotoStore", *, fifo: bool = False) -> None:
        super().__init__()
        self._moto = moto
        self.fifo = fifo
        self._clients: dict[str, Any] = {}
        self._taken: dict[str, Reply] = {}
        name = f"kb-dr-{uuid4().hex[:12]}" + (".fifo" if fifo else "")
        attributes = {"FifoTopic": "true"} if fifo else {}
        queue_attributes = {"FifoQueue": "true"} if fifo else {}
        self.topic_arn = self._client("sns").create_topic(Name=name, Attributes=attributes)[
            "TopicArn"
        ]
        self._queue_url = self._client("sqs").create_queue(
            QueueName=name, Attributes=queue_attributes
        )["QueueUrl"]
        queue_arn = self._client("sqs").get_queue_attributes(
            QueueUrl=self._queue_url, AttributeNames=["QueueArn"]
        )["Attributes"]["QueueArn"]
        self._client("sns").subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=queue_arn)

    @property
    def environment(self) -> dict[str, str]:
        """What the AWS chain finds the right key in."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def understand(self, request: Request) -> Reply:
        signed = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
        if signed is None or signed[1] != ACCESS_KEY_ID:
            return _error(403, "InvalidClientTokenId", "The security token is invalid.")
        # moto passes on what comes again; a FIFO topic shows it once within five minutes.
        named = parse_qs(request.body.decode()).get("MessageDeduplicationId", [""])[0]
        if named and named in self._taken:
            return self._taken[named]
        status, content_type, body = self._passed_on(request)
        # moto counts no subscription, whatever is subscribed.
        body = re.sub(rb"(SubscriptionsConfirmed</key>\s*<value>)0", rb"\g<1>1", body)
        for message in self._received():
            self.take(message)
        reply = Reply(status, body, content_type)
        if named and status == 200:
            self._taken[named] = reply
        return reply

    def forget(self) -> None:
        super().forget()
        self._taken.clear()

    def _passed_on(self, request: Request) -> tuple[int, str, bytes]:
        connection = HTTPConnection("127.0.0.1", self._moto.port, timeout=60)
        try:
            headers = {
                name: value
                for name, value in request.headers.items()
                if name not in ("host", "content-length", "connection", "expect")
            }
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), response.read()
        finally:
            connection.close()

    def _received(self) -> list[ReceivedNotification]:
        client = self._client("sqs")
        found: list[ReceivedNotification] = []
        while got := client.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            for each in got:
                client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=each["ReceiptHandle"])
                said = json.loads(each["Body"])
                attributes = {
                    name: value["Value"]
                    for name, value in said.get("MessageAttributes", {}).items()
                }
                found.append(
                    ReceivedNotification(
                        said["MessageId"], said.get("Subject", ""), said["Message"], attributes
                    )
                )
        return found

    def _client(self, service: str) -> Any:  # sqs has no stubs here
        if service not in self._clients:
            make: Any = boto3.session.Session().client
            self._clients[service] = make(
                service,
                endpoint_url=f"http://127.0.0.1:{self._moto.port}",
                region_name=REGION,
                aws_access_key_id=ACCESS_KEY_ID,
                aws_secret_access_key=SECRET_ACCESS_KEY,
                config=Config(retries={"max_attempts": 3, "mode": "standard"}),
            )
        return self._clients[service]


def _error(status: int, code: str, said: str) -> Reply:
    body = (
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error>'
        f"<Type>Sender</Type><Code>{code}</Code><Message>{said}</Message></Error>"
        "<RequestId>kb-dr-tests</RequestId></ErrorResponse>"
    )
    return Reply(status, body.encode(), "text/xml")
