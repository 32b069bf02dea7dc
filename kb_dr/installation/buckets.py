"""What the buckets of the copies do by themselves: locks, hidden versions, lifecycle rules."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.domain.finding import Finding
from kb_dr.errors import ConfigurationError, RepositoryError
from kb_dr.installation.places import Places
from kb_dr.settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.domain.object_lock import ObjectLock
    from kb_dr.domain.stored import HiddenObject
    from kb_dr.operations.lifecycle import LifecyclePlan
    from kb_dr.ports import Bucket

logger = logging.getLogger(__name__)


class Buckets(Places):
    """Looks at buckets, and has them do what the settings say. A directory does nothing."""

    def bucket(self, copy: str) -> Bucket | None:
        """The bucket of one copy; None where it is a directory."""
        if copy not in self._buckets:
            self._buckets[copy] = wiring.bucket(self.settings, copy)
        return self._buckets[copy]

    def lock_wanted(self, copy: str) -> ObjectLock | None:
        """What the settings have the bucket of one copy retain."""
        location = self.settings.location(copy)
        return location.object_lock if isinstance(location, S3Settings) else None

    def lock(self, copy: str) -> ObjectLock | None:
        """Have one copy's bucket retain what the settings say, or more where more stands there."""
        from kb_dr.operations.lock_bucket import lock_bucket

        bucket, wanted = self.bucket(copy), self.lock_wanted(copy)
        if bucket is None or wanted is None:
            return None
        return lock_bucket(bucket, wanted, name=self.repository(copy).url)

    def locks(self) -> Iterator[Finding]:
        """Whether each bucket that is to retain what is written does; one GET each."""
        from kb_dr.domain.proof import Outcome
        from kb_dr.operations.lock_bucket import judge_lock

        for copy in self.copies:
            bucket, wanted = self.bucket(copy), self.lock_wanted(copy)
            if bucket is None or wanted is None:
                continue
            try:
                yield judge_lock(bucket, wanted, copy=copy)
            except RepositoryError as error:
                subject = f"Object Lock of {copy}"
                yield Finding(subject, Outcome.COULD_NOT_RUN, str(error), error.hint)

    def hidden(self, copy: str, prefixes: tuple[str, ...] = ("",)) -> Iterator[HiddenObject]:
        """Objects of one copy that a delete marker hides."""
        bucket = self.bucket(copy)
        if bucket is not None:
            for prefix in prefixes:
                yield from bucket.hidden(prefix)

    def bring_back(self, copy: str, key: str) -> None:
        """Remove the delete markers that hide one object."""
        self._bucket_of(copy).bring_back(key)

    def plan_lifecycle(self, copy: str) -> LifecyclePlan | None:
        """The lifecycle rules one copy should have and those it has; None: it can have none."""
        from kb_dr.operations.lifecycle import plan_lifecycle

        bucket = self.bucket(copy)
        if bucket is None:
            return None
        return plan_lifecycle(self.checked(copy), bucket, self.settings.retention[copy])

    def apply_lifecycle(self, copy: str) -> LifecyclePlan:
        """Put the rules of the policy into one copy's bucket; what stands there then."""
        from kb_dr.operations.lifecycle import apply_lifecycle

        policy = self.settings.retention[copy]
        done = apply_lifecycle(self.checked(copy), self._bucket_of(copy), policy)
        if done is None:
            raise ConfigurationError(
                f"set lifecycle rules of {copy}: the store has none",
                hint="`kb-dr retention apply` does without.",
            )
        return done

    def _bucket_of(self, copy: str) -> Bucket:
        found = self.bucket(copy)
        if found is None:
            raise ConfigurationError(
                f"use the bucket of {copy}: it is a directory",
                hint="A directory keeps no versions and removes nothing by itself.",
            )
        return found

    def _look_at_lock(self, stored: StoredManifest) -> None:
        """Say so, where a backup that was just stored is not retained as the settings say."""
        from kb_dr.operations.lock_bucket import judge_retained

        wanted = self.lock_wanted("primary")
        if wanted is None:
            return
        try:
            found = judge_retained(self.primary, stored.manifest, wanted, self.clock)
        except RepositoryError as error:
            logger.warning("look at the lock of %s: %s", stored.manifest.id, error)
            return
        if not found.good:
            logger.warning("%s: %s; %s", found.subject, found.seen, found.hint)
