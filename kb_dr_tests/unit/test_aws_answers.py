"""What AWS answers becomes an error of ours, and nothing of its text is kept."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    SSLError,
)

from kb_dr.adapters.aws_answers import error_of
from kb_dr.errors import AlertError, CloudWatchRefused, CloudWatchUnavailable

HUSH = "User: arn:aws:iam::123456789012:user/hush is not authorized"


def answered(code: str, status: int) -> ClientError:
    # All of an answer that is read; boto's type asks for more.
    answer: Any = {
        "Error": {"Code": code, "Message": HUSH},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "PutMetricData")


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (answered("AccessDenied", 403), CloudWatchRefused, "status 403 AccessDenied"),
        (
            answered("com.amazonaws.logs#AccessDeniedException", 400),
            CloudWatchRefused,
            "status 400 AccessDeniedException",
        ),
        (answered("ExpiredToken", 400), CloudWatchRefused, "status 400 ExpiredToken"),
        (answered("Throttling", 400), CloudWatchUnavailable, "status 400 Throttling"),
        (answered("500", 500), CloudWatchUnavailable, "status 500"),
        (answered("DashboardInvalidInputError", 400), AlertError, "DashboardInvalidInputError"),
        (answered(HUSH, 400), AlertError, "status 400"),
        (NoCredentialsError(), CloudWatchRefused, "no keys of AWS were found"),
        (EndpointConnectionError(endpoint_url=HUSH), CloudWatchUnavailable, "no answer"),
        (ConnectTimeoutError(endpoint_url=HUSH), CloudWatchUnavailable, "no answer"),
        (SSLError(endpoint_url=HUSH, error=OSError(HUSH)), CloudWatchRefused, "certificate"),
    ],
)
def test_an_answer_is_an_error_of_ours(
    raised: Exception, kind: type[AlertError], said: str
) -> None:
    error = error_of(raised, "put metrics")

    assert type(error) is kind
    assert str(error).startswith("put metrics: ")
    assert said in str(error)
    assert "hush" not in f"{error} {error.hint}"
