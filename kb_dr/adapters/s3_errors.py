"""What an S3 answer means: one table from the store's words to ours."""

import re
from dataclasses import dataclass

from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from kb_dr.errors import (
    BucketMissing,
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_COME_BACK = frozenset(
    {
        "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown",
        "Throttling", "ThrottlingException", "TooManyRequests",
    }
)  # fmt: skip
"""https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
_COME_BACK_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSED = frozenset(
    {
        "AccessDenied", "AccountProblem", "AuthorizationHeaderMalformed", "ExpiredToken",
        "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)  # fmt: skip
_NOT_RETRIED_NETWORK = ("invalid peer certificate", "CertificateRequired", "BadCertificate")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store said when it did not do what was asked."""

    status: int | None
    """HTTP status; None when no answer came."""
    code: str | None
    """S3's own word for it, where the answer had a body."""
    certificate: bool = False

    @property
    def text(self) -> str:
        """For people. The rest of the answer is never shown: S3 quotes the request in it."""
        if self.status is None:
            return "its certificate is not trusted" if self.certificate else "no answer"
        return f"status {self.status}" + (f" {self.code}" if self.code else "")

    @property
    def bucket_is_missing(self) -> bool:
        return self.code == "NoSuchBucket"

    @property
    def key_is_missing(self) -> bool:
        """Only with S3's own word: a bare 404 may be a missing bucket, or no S3 at all."""
        return self.status == 404 and self.code == "NoSuchKey"

    @property
    def is_404(self) -> bool:
        return self.status == 404

    @property
    def is_not_known(self) -> bool:
        """True when the store has never heard of what it was asked for."""
        return self.status in (405, 501) or self.code in ("MethodNotAllowed", "NotImplemented")

    @property
    def passes(self) -> bool:
        """True when the same request may succeed a little later."""
        if self.status is None:
            return not self.certificate
        return self.status in _COME_BACK_STATUS or self.code in _COME_BACK

    def error(self, what: str) -> RepositoryError:
        """Our error for it; ``what`` is the action and the object."""
        said = f"{what}: {self.text}"
        if self.bucket_is_missing:
            return BucketMissing(said)
        if self.passes:
            return RepositoryUnavailable(said)
        if self.status in (401, 403) or self.code in _REFUSED:
            return RepositoryRefused(said)
        if self.certificate:
            return RepositoryRefused(said, hint="Check the certificate of the endpoint.")
        return RepositoryError(said)


def answer_of(error: BaseError | OSError | ValueError) -> Answer:
    """Read status and code out of what obstore raised, which has them only as text."""
    text = str(error)
    status = _STATUS.search(text)
    code = _CODE.search(text)
    if status is None:
        if isinstance(error, FileNotFoundError):
            return Answer(404, None)
        if isinstance(error, PermissionDeniedError):
            return Answer(403, None)
        if isinstance(error, UnauthenticatedError):
            return Answer(401, None)
    return Answer(
        int(status[1]) if status else None,
        code[1] if code else None,
        certificate=any(word in text for word in _NOT_RETRIED_NETWORK),
    )
