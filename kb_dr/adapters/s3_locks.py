"""Object Lock: until when the versions of a bucket are retained."""

from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from kb_dr.adapters.s3_calls import CallFailed
from kb_dr.adapters.s3_client import S3Calls
from kb_dr.adapters.s3_versions import Version
from kb_dr.domain.stored import NO_END
from kb_dr.errors import RepositoryRefused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NO_LOCK_OF_BUCKET = "ObjectLockConfigurationNotFoundError"
_NO_LOCK = frozenset({"InvalidRequest", "NoSuchObjectLockConfiguration", _NO_LOCK_OF_BUCKET})
"""What stores say of an object without one."""
_HINT = "Allow s3:GetObjectRetention and s3:GetObjectLegalHold: else nobody can tell."


class LockReader:
    """Reads the locks of versions of one bucket."""

    def __init__(self, calls: S3Calls) -> None:
        self._calls = calls
        self._may_see = False

    def retained_until(self, version: Version) -> datetime | None:
        """Until when this version cannot be deleted; None when no lock keeps it.

        By the store's clock. A store shows a lock on a HEAD only to who may see it; so the first
        time that none is shown the question is put as one that it refuses (RepositoryRefused).
        """
        if version.is_marker:
            return None  # nothing retains those
        try:
            seen = self._asked(version, lambda client, where: client.head_object(**where))
        except CallFailed as failed:
            if failed.answer.is_404:
                return None  # gone since it was listed
            raise self._error(failed, version) from None
        if seen.get("ObjectLockLegalHoldStatus") == "ON":
            return NO_END
        until: datetime | None = seen.get("ObjectLockRetainUntilDate")
        if until is None:
            self._require_sight(version)
            return None
        now = _answered_at(seen)
        return until if now is None or until > now else None

    def _require_sight(self, version: Version) -> None:
        """Raise RepositoryRefused unless a lock would have been shown; asked once."""
        if self._may_see:
            return
        for ask in (
            lambda client, where: client.get_object_retention(**where),
            lambda client, where: client.get_object_legal_hold(**where),
        ):
            try:
                self._asked(version, ask)
            except CallFailed as failed:
                if failed.answer.code not in _NO_LOCK and not failed.answer.is_404:
                    raise self._error(failed, version) from None
        self._may_see = True

    def _asked(
        self, version: Version, ask: "Callable[[S3Client, dict[str, Any]], Any]"
    ) -> dict[str, Any]:
        where = {
            "Bucket": self._calls.bucket,
            "Key": self._calls.key(version.key),
            "VersionId": version.version_id,
        }
        answered: dict[str, Any] = self._calls.call(lambda client: ask(client, where))
        return answered

    def _error(self, failed: CallFailed, version: Version) -> Exception:
        error = failed.answer.error(f"look at the lock of {self._calls.location.url}/{version.key}")
        if isinstance(error, RepositoryRefused):
            error.hint = _HINT
        return error


def bucket_has_locks(calls: S3Calls) -> bool:
    """Whether objects of this bucket can be locked at all: one GET of the bucket.

    A store that does not know the question has no locks. One that refuses to answer raises
    RepositoryRefused.
    """
    return lock_configuration(calls) is not None


def lock_configuration(calls: S3Calls) -> dict[str, Any] | None:
    """The bucket's configuration as the store gives it; None where there are no locks."""
    try:
        answer = calls.call(
            lambda client: client.get_object_lock_configuration(Bucket=calls.bucket)
        )
    except CallFailed as failed:
        seen = failed.answer
    else:
        # rclone answers any question of a bucket with a listing, which holds none of this.
        found: dict[str, Any] = dict(answer.get("ObjectLockConfiguration", {}))
        return found if found.get("ObjectLockEnabled") == "Enabled" else None
    if seen.code == _NO_LOCK_OF_BUCKET or seen.is_not_known:
        return None
    error = seen.error(f"ask {calls.location.url} for its Object Lock")
    if isinstance(error, RepositoryRefused):
        error.hint = "Allow s3:GetBucketObjectLockConfiguration."
    raise error


def _answered_at(answer: dict[str, Any]) -> datetime | None:
    """When the store answered, by its own clock; None when it does not say."""
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return None if text is None else parsedate_to_datetime(text)
    except ValueError:
        return None
