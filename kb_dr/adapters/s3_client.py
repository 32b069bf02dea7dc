"""The calls of S3 that obstore lacks: versions, locks, lifecycle. Through boto3, when first used.

Importing boto3 takes longer than pushing a WAL segment; nothing on that path may come here.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from kb_dr.adapters.s3_calls import with_retries
from kb_dr.adapters.s3_errors import Answer
from kb_dr.adapters.s3_location import S3Location

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

_NOT_SENT = {
    "NoCredentialsError": Answer(401, "NoCredentials"),
    "PartialCredentialsError": Answer(401, "NoCredentials"),
    "ProfileNotFound": Answer(401, "ProfileNotFound"),
    "ConfigParseError": Answer(401, "ConfigParseError"),
    "ParamValidationError": Answer(400, "InvalidArgument"),
}
"""What botocore refuses to send: no retry can help."""


class S3Calls:
    """A client of one bucket, made when first used; calls have the deadline of the location."""

    def __init__(self, location: S3Location) -> None:
        self.location = location
        self.bucket = location.bucket

    def key(self, key: str) -> str:
        """The key in the bucket of a key (or a prefix) of the repository."""
        return f"{self.location.prefix}/{key}" if self.location.prefix else key

    def own(self, key: str) -> str:
        """The key in the repository of one in the bucket."""
        return key[len(self.key("")) :]

    def call(self, call: "Callable[[S3Client], T]") -> T:
        """What ``call`` returns, retried as obstore's calls are. Raises s3_calls.CallFailed."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        return with_retries(
            lambda: call(self._client),  # making it may fail, too
            deadline_seconds=self.location.retry_seconds,
            raised=(BotoCoreError, ClientError, ResponseParserError, OSError),
            read=_answer_of,
        )

    @cached_property
    def _client(self) -> "S3Client":
        import boto3
        import botocore.session

        location = self.location
        # Keys of the settings, and no profile that the environment names. A session of its own:
        # threads must not share the default one while clients are made.
        no_profile = {"profile": (None, None, None, None)} if location.access_key_id else None
        own = botocore.session.Session(session_vars=no_profile)
        return boto3.session.Session(botocore_session=own).client(
            "s3",
            endpoint_url=location.endpoint_url,
            region_name=location.region,
            aws_access_key_id=location.access_key_id,
            aws_secret_access_key=location.secret_access_key,
            aws_session_token=location.session_token,
            config=_config(location),
        )


def _config(location: S3Location) -> "Config":
    from botocore.config import Config

    # The stubs do not know it yet. Those of the environment lead elsewhere.
    newer: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    return Config(
        **newer,
        # Off AWS the newer checksums are not known everywhere.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if location.endpoint_url else "auto"},
        connect_timeout=min(location.timeout_seconds, 10.0),
        read_timeout=location.timeout_seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},  # counted by with_retries
    )


def _answer_of(error: Any) -> Answer:
    """Status and code out of what botocore raised; nothing else of it is kept."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        kind = type(error).__name__
        return _NOT_SENT.get(kind, Answer(None, None, certificate="SSL" in kind))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = response.get("Error", {}).get("Code")
    # botocore fills in the status where a HEAD has no body to say more.
    return Answer(status, None if code is None or code.isdigit() else code)
