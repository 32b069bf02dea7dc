"""Deleting for good, on stores with versions and locks and on those without."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property

from kb_dr.adapters.s3_calls import CallFailed
from kb_dr.adapters.s3_client import S3Calls
from kb_dr.adapters.s3_location import S3Location
from kb_dr.adapters.s3_locks import LockReader, bucket_has_locks
from kb_dr.adapters.s3_versions import (
    Version,
    Versioning,
    remove_version,
    versioning,
    versions,
    versions_of,
)
from kb_dr.domain.stored import NO_END
from kb_dr.errors import ObjectRetained

_AT_ONCE = 8
"""Objects asked for their locks at a time; botocore keeps ten connections."""


class S3Removal:
    """What a bucket does when something of it is deleted; asked once, when first needed.

    A store without versions is never sent a call that it may lack.
    """

    def __init__(self, location: S3Location) -> None:
        self._calls = S3Calls(location)
        self._locks = LockReader(self._calls)

    @cached_property
    def keeps_versions(self) -> bool:
        """Whether a plain delete would only hide an object, or leave older bytes behind."""
        return versioning(self._calls) is not Versioning.NONE

    @cached_property
    def _has_locks(self) -> bool:
        return self.keeps_versions and bucket_has_locks(self._calls)

    def remove(self, key: str, what: str) -> None:
        """Remove every version of the key by its id, the newest last. Raises ObjectRetained."""
        for version in versions_of(self._calls, key):
            try:
                remove_version(self._calls, version)
            except CallFailed as failed:
                if failed.answer.is_404:
                    continue  # somebody else was faster
                if not failed.answer.passes and self._has_locks:
                    # Stores have several words for a refusal by a lock; the lock itself is asked.
                    self._say_retained(version, what)
                raise failed.answer.error(what) from None

    def retained_until(self, prefix: str) -> datetime | None:
        """Implements `kb_dr.ports.Repository.retained_until`."""
        if not self._has_locks:
            return None
        found = sorted(
            versions(self._calls, prefix), key=lambda each: (each.is_latest, each.modified)
        )
        if not found:
            return None
        # Alone, since it mostly answers for all: what is written first can go first.
        if (until := self._locks.retained_until(found.pop())) is not None:
            return until
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="locks")
        try:
            answers = pool.map(self._locks.retained_until, reversed(found))
            return next((until for until in answers if until is not None), None)
        finally:
            pool.shutdown(cancel_futures=True)

    def _say_retained(self, version: Version, what: str) -> None:
        """Raise ObjectRetained if a lock is why this version was not deleted."""
        until = self._locks.retained_until(version)
        if until is not None:
            how = (
                "under legal hold"
                if until == NO_END
                else f"retained until {until:%Y-%m-%d %H:%M:%SZ}"
            )
            raise ObjectRetained(f"{what}: {how}")
