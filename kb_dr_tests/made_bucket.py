"""A bucket in memory, and buckets of each kind on a real store."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from kb_dr.domain.lifecycle import LifecycleRule
from kb_dr.domain.object_lock import LockMode, ObjectLock
from kb_dr.domain.stored import HiddenObject
from kb_dr.errors import RepositoryError
from kb_dr_tests.object_stores import RunningStore

HIDDEN_AT = datetime(2026, 11, 20, 2, tzinfo=UTC)

A_DAY = ObjectLock(LockMode.GOVERNANCE, 1)


class MemoryBucket:
    """A `kb_dr.ports.Bucket` that does what it is told, unless told otherwise."""

    def __init__(
        self,
        lock: ObjectLock | None = None,
        *,
        can_lock: bool = True,
        rules: Sequence[LifecycleRule] | None = (),
    ) -> None:
        self.lock = lock
        self.locks = can_lock
        self.rules = None if rules is None else tuple(rules)
        self.markers: list[str] = []
        """Keys behind a delete marker."""
        self.forgets = False
        """It says yes to a lock, and holds none."""

    def keeps_versions(self) -> bool:
        return True

    def can_lock(self) -> bool:
        return self.locks

    def object_lock(self) -> ObjectLock | None:
        return self.lock

    def set_object_lock(self, lock: ObjectLock) -> None:
        if not self.locks:
            raise RepositoryError("set Object Lock: the bucket was made without it")
        if not self.forgets:
            self.lock = lock

    def hidden(self, prefix: str) -> Iterator[HiddenObject]:
        for key in sorted(self.markers):
            if key.startswith(prefix):
                yield HiddenObject(key, HIDDEN_AT)

    def bring_back(self, key: str) -> None:
        self.markers.remove(key)

    def lifecycle(self) -> tuple[LifecycleRule, ...] | None:
        return self.rules

    def set_lifecycle(self, rules: Sequence[LifecycleRule]) -> None:
        others = [rule for rule in self.rules or () if not rule.made_here]
        self.rules = (*others, *rules)


def make_versioned(store: RunningStore, bucket: str) -> None:
    """A bucket that keeps versions and locks nothing."""
    client = store.client()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def make_lockable(store: RunningStore, bucket: str) -> None:
    """A bucket made with Object Lock; it retains nothing of itself yet."""
    store.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
