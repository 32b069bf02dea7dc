"""A topic of Amazon SNS, whose subscribers are told.

boto3 signs, writes and reads; the request itself goes by our own call, because botocore's time
limits start anew with each byte.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from kb_dr.adapters.aws_answers import NO_KEYS
from kb_dr.adapters.channels.deadline import within
from kb_dr.adapters.channels.http_call import SECONDS
from kb_dr.adapters.channels.http_place import HttpPlace
from kb_dr.adapters.channels.texts import headline, plain
from kb_dr.domain.message import Message
from kb_dr.errors import AlertError, ChannelRefused, ChannelUnavailable, MessageRefused
from kb_dr.ports import Clock
from kb_dr.settings.alerting import Sns
from kb_dr.settings.secret import Secret

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import PublishInputTypeDef

T = TypeVar("T")

_MOST_BYTES = 200_000
"""SNS takes 256 KiB with everything."""
_SUBJECT = 99
_THIS_ONE = ("InvalidParameter", "InvalidParameterValue", "ValidationException")
_LATER = ("Throttled", "Throttling", "ThrottlingException", "KMSThrottling", "InternalError",
          "InternalFailure", "ServiceUnavailable", "RequestExpired")  # fmt: skip
_HINT = (
    "The AWS chain's key needs sns:Publish and sns:GetTopicAttributes on KB_DR_SNS_TOPIC_ARN, "
    "and kms:GenerateDataKey where the topic is encrypted."
)


class SnsChannel:
    """Implements `kb_dr.ports.Channel`."""

    name = "sns"
    groups = True

    def __init__(self, settings: Sns, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._settings = settings
        self._clock = clock
        self._seconds = seconds

    def check(self) -> str:
        """That the topic is there for us, and that somebody listens to it."""
        arn = self._settings.topic_arn
        try:
            found = self._call(
                "check", lambda client: client.get_topic_attributes(TopicArn=arn)["Attributes"]
            )
        except MessageRefused as error:
            raise ChannelRefused(str(error), hint="Is KB_DR_SNS_TOPIC_ARN right?") from None
        heard = int(found.get("SubscriptionsConfirmed", "0"))
        if heard == 0:
            raise ChannelRefused(
                f"check {self._shown}: nobody has confirmed a subscription",
                hint="Subscribe somebody to the topic, and confirm it.",
            )
        return f"topic {self._topic} has {heard} confirmed subscriptions; nothing was published"

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        """A FIFO topic shows a message that comes again within five minutes once."""
        said = _published(message, self._settings.topic_arn)
        return self._call("send to", lambda client: client.publish(**said)["MessageId"])

    @property
    def _topic(self) -> str:
        return self._settings.topic_arn.rpartition(":")[2]

    @property
    def _shown(self) -> str:
        return f"topic {self._topic} of SNS"

    def _call(self, action: str, call: "Callable[[SNSClient], T]") -> T:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        seen = f"{action} {self._shown}"
        try:
            # Looking for keys may ask others than SNS, and has time limits of its own.
            return within(self._seconds, lambda: call(self._client), give_up=lambda: None)
        except TimeoutError:
            trouble: AlertError = ChannelUnavailable(
                f"{seen}: no answer within {self._seconds:g} s"
            )
        except AlertError as error:
            trouble = error.with_traceback(None)
            trouble.__context__ = None
        except ClientError as error:
            trouble = _error_of(seen, error.response)
        except (BotoCoreError, ResponseParserError) as error:
            # No key, half a key, no such profile: nothing was sent.
            kind = type(error).__name__
            said = "no keys of AWS were found" if kind in NO_KEYS else kind
            trouble = ChannelRefused(f"{seen}: {said}", hint=_HINT)
        raise trouble

    @cached_property
    def _client(self) -> "SNSClient":
        import boto3
        from botocore.config import Config

        # The stubs do not know it yet. Those of the environment lead elsewhere.
        newer: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
        client = boto3.session.Session().client(
            "sns",
            endpoint_url=self._settings.endpoint_url,
            region_name=self._settings.region,
            config=Config(**newer, retries={"total_max_attempts": 1, "mode": "standard"}),
        )
        carried: Any = self._carried  # the stubs know only handlers that return nothing
        client.meta.events.register("before-send.sns", carried)
        return client

    def _carried(self, request: "AWSPreparedRequest", **_: Any) -> "AWSResponse":
        """The answer to a signed request, by our own call with its own deadline."""
        from botocore.awsrequest import AWSResponse

        place = HttpPlace(
            self.name, Secret(request.url), "KB_DR_SNS_ENDPOINT_URL", self._clock, self._seconds
        )
        given: Any = request.body or b""  # text or bytes: SNS has no streams
        body = given.encode() if isinstance(given, str) else bytes(given)
        headers = {name: _text(value) for name, value in request.headers.items()}
        answer = place.post(body, {k: v for k, v in headers.items() if k.lower() != "expect"})
        if answer.status >= 500 or answer.status == 429 or 300 <= answer.status < 400:
            raise place.error_of(answer)
        named: Any = dict(answer.headers)  # in lower case, as botocore looks for them
        return AWSResponse(request.url, answer.status, named, _Body(answer.body))


class _Body:
    """What botocore reads an answer from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> list[bytes]:
        return [self._content]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _published(message: Message, arn: str) -> "PublishInputTypeDef":
    subject = headline(message).encode("ascii", "replace").decode()
    said: PublishInputTypeDef = {
        "TopicArn": arn,
        "Subject": subject[:_SUBJECT],
        "Message": plain(message).encode()[:_MOST_BYTES].decode("utf-8", "ignore"),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value}
            for name, value in (
                ("severity", message.severity.value),
                ("kind", message.kind),
                ("what", message.what.value),
                ("service", message.service),
                ("message_id", message.id),
            )
            if value
        },
    }
    if arn.endswith(".fifo"):
        said["MessageGroupId"] = _digest(f"{message.service}/{message.dedup_key}")
        said["MessageDeduplicationId"] = _digest(f"{message.service}/{message.id}")
    return said


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _error_of(seen: str, response: Any) -> AlertError:
    code = str(response.get("Error", {}).get("Code", ""))
    word = code if code.isalnum() else "an error without a name"
    if code in _LATER:
        return ChannelUnavailable(f"{seen}: {word}")
    if code in _THIS_ONE:
        return MessageRefused(f"{seen}: {word}")
    return ChannelRefused(f"{seen}: {word}", hint=_HINT)
