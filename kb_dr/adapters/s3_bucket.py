"""The bucket of a repository on S3: versions, locks, lifecycle rules, behind one port."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

from kb_dr.adapters.repository_keys import checked_key
from kb_dr.adapters.s3_calls import CallFailed
from kb_dr.adapters.s3_client import S3Calls
from kb_dr.adapters.s3_lifecycle import S3Lifecycle
from kb_dr.adapters.s3_location import S3Location
from kb_dr.adapters.s3_locks import bucket_has_locks, lock_configuration
from kb_dr.adapters.s3_versions import (
    Versioning,
    remove_version,
    versioning,
    versions,
    versions_of,
)
from kb_dr.domain.lifecycle import LifecycleRule
from kb_dr.domain.object_lock import LockMode, ObjectLock
from kb_dr.domain.stored import HiddenObject
from kb_dr.errors import RepositoryError

_DAYS_OF_A_YEAR = 365
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DefaultRetention.html has either unit."""


class S3Bucket:
    """Implements `kb_dr.ports.Bucket`."""

    def __init__(self, location: S3Location) -> None:
        self._calls = S3Calls(location)

    @cached_property
    def _keeps_versions(self) -> bool:
        return versioning(self._calls) is not Versioning.NONE

    def keeps_versions(self) -> bool:
        return self._keeps_versions

    def can_lock(self) -> bool:
        return self._keeps_versions and bucket_has_locks(self._calls)

    def object_lock(self) -> ObjectLock | None:
        found = lock_configuration(self._calls) if self._keeps_versions else None
        default: dict[str, Any] = (found or {}).get("Rule", {}).get("DefaultRetention", {})
        if not default:
            return None
        days = default.get("Days") or default.get("Years", 0) * _DAYS_OF_A_YEAR
        return ObjectLock(LockMode(str(default["Mode"]).lower()), days)

    def set_object_lock(self, lock: ObjectLock) -> None:
        what = f"set Object Lock of {self._calls.location.url}"
        if not self.can_lock():
            raise RepositoryError(
                f"{what}: the bucket was made without it",
                hint="Object Lock is chosen when a bucket is made: docs/immutability.md.",
            )
        try:
            self._calls.call(
                lambda client: client.put_object_lock_configuration(
                    Bucket=self._calls.bucket,
                    ObjectLockConfiguration={
                        "ObjectLockEnabled": "Enabled",
                        "Rule": {
                            "DefaultRetention": {
                                "Mode": "COMPLIANCE"
                                if lock.mode is LockMode.COMPLIANCE
                                else "GOVERNANCE",
                                "Days": lock.days,
                            }
                        },
                    },
                )
            )
        except CallFailed as failed:
            raise failed.answer.error(what) from None

    def hidden(self, prefix: str) -> Iterator[HiddenObject]:
        if not self._keeps_versions:
            return
        for key, group in groupby(versions(self._calls, prefix), key=lambda each: each.key):
            found = list(group)
            marker = next((each for each in found if each.is_latest and each.is_marker), None)
            if marker is not None and not all(each.is_marker for each in found):
                yield HiddenObject(key, marker.modified)

    def bring_back(self, key: str) -> None:
        what = f"bring back {self._calls.location.url}/{checked_key(key)}"
        while True:
            # One by one: which of several lies on top is known only of the one on top.
            found = versions_of(self._calls, key)
            top = found[-1] if found else None
            if top is None or not top.is_marker or all(each.is_marker for each in found):
                return
            try:
                remove_version(self._calls, top)
            except CallFailed as failed:
                if not failed.answer.is_404:
                    raise failed.answer.error(what) from None

    def lifecycle(self) -> tuple[LifecycleRule, ...] | None:
        return S3Lifecycle(self._calls).rules()

    def set_lifecycle(self, rules: Sequence[LifecycleRule]) -> None:
        S3Lifecycle(self._calls).replace(rules)
