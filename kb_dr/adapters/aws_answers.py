"""What an answer of AWS means that is not S3's: one table from its words to ours."""

import re
from typing import Any

from kb_dr.errors import AlertError, CloudWatchRefused, CloudWatchUnavailable

_REFUSED = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken",
        "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId",
        "InvalidSignatureException", "MissingAuthenticationToken", "NotAuthorized",
        "OptInRequired", "SignatureDoesNotMatch", "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)  # fmt: skip
_COME_BACK = frozenset(
    {
        "InternalFailure", "InternalServiceFault", "RequestThrottled", "RequestTimeout",
        "ServiceUnavailable", "ServiceUnavailableException", "Throttling", "ThrottlingException",
        "TooManyRequestsException",
    }
)  # fmt: skip
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CommonErrors.html"""
NO_KEYS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
                     "ProfileNotFound", "ConfigParseError"})  # fmt: skip
"""Names of botocore's errors when the chain holds no key that can be used."""
_WORD = re.compile(r"[A-Za-z.]{1,64}")


def code_of(error: BaseException) -> str:
    """AWS's own word for what it did not do; empty when no answer came."""
    response: Any = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    # In some protocols a name space stands before it.
    code = str(code).rpartition("#")[2]
    return code if _WORD.fullmatch(code) else ""


def error_of(error: BaseException, what: str) -> AlertError:
    """Our error for what botocore raised; ``what`` is the action and the object.

    Nothing of its text is kept: AWS quotes keys and addresses in it.
    """
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        kind = type(error).__name__
        if kind in NO_KEYS:
            return CloudWatchRefused(f"{what}: no keys of AWS were found")
        if "SSL" in kind:
            return CloudWatchRefused(
                f"{what}: its certificate is not trusted",
                hint="Check the certificate of the endpoint.",
            )
        if kind == "ParamValidationError":
            return AlertError(f"{what}: not sent, a value in it is none of AWS's")
        return CloudWatchUnavailable(f"{what}: no answer")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = code_of(error)
    said = f"{what}: status {status}" + (f" {code}" if code else "")
    if code in _REFUSED or status in (401, 403):
        return CloudWatchRefused(said)
    if code in _COME_BACK or status == 429 or (isinstance(status, int) and status >= 500):
        return CloudWatchUnavailable(said)
    return AlertError(said)
