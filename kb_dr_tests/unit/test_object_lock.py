"""What a bucket retains is only ever lengthened, and what it does not retain is said."""

from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.object_lock import LockMode, ObjectLock
from kb_dr.domain.proof import Outcome
from kb_dr.errors import ConfigurationError, RepositoryError
from kb_dr.operations.judge_bucket import judge_hidden
from kb_dr.operations.lock_bucket import judge_lock, judge_retained, lock_bucket
from kb_dr.settings import S3Settings, load_settings
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_bucket import A_DAY, MemoryBucket
from kb_dr_tests.stored_backups import store_backup

WEEK = ObjectLock(LockMode.GOVERNANCE, 7)
FIRM_DAY = ObjectLock(LockMode.COMPLIANCE, 1)
FIRM_WEEK = ObjectLock(LockMode.COMPLIANCE, 7)


@pytest.mark.parametrize(
    ("stands", "wanted", "then"),
    [
        (None, A_DAY, A_DAY),
        (A_DAY, A_DAY, A_DAY),
        (A_DAY, WEEK, WEEK),
        (WEEK, A_DAY, WEEK),
        (FIRM_DAY, WEEK, FIRM_WEEK),
        (WEEK, FIRM_DAY, FIRM_WEEK),
        (FIRM_WEEK, A_DAY, FIRM_WEEK),
    ],
)
def test_a_lock_is_lengthened_and_never_weakened(
    stands: ObjectLock | None, wanted: ObjectLock, then: ObjectLock
) -> None:
    bucket = MemoryBucket(stands)

    assert lock_bucket(bucket, wanted, name="primary") == then
    assert bucket.lock == then
    assert judge_lock(bucket, wanted, copy="primary").outcome is Outcome.PASSED


def test_a_bucket_that_keeps_no_lock_is_not_believed() -> None:
    bucket = MemoryBucket()
    bucket.forgets = True

    with pytest.raises(RepositoryError, match="retains nothing afterwards, expected governance"):
        lock_bucket(bucket, A_DAY, name="primary")
    with pytest.raises(RepositoryError, match="made without"):
        lock_bucket(MemoryBucket(can_lock=False), A_DAY, name="primary")


def test_what_is_not_retained_as_wanted_is_not_in_order() -> None:
    for bucket, seen in (
        (MemoryBucket(), "nothing is retained, expected governance, 7 days"),
        (MemoryBucket(A_DAY), "governance, 1 days is retained, expected governance, 7 days"),
        (MemoryBucket(can_lock=False), "the bucket was made without it"),
    ):
        found = judge_lock(bucket, WEEK, copy="primary")

        assert found.outcome is Outcome.FAILED
        assert seen in found.seen
        assert found.hint
    assert judge_lock(MemoryBucket(), None, copy="primary").outcome is Outcome.NOT_APPLICABLE


def test_a_backup_that_bears_no_lock_is_found() -> None:
    clock = FakeClock()
    repository = MemoryRepository(clock=clock)
    newest = store_backup(repository, PlainCodec()).manifest
    key = layout.manifest_key(newest.backup_id)

    def outcome() -> Outcome:
        return judge_retained(repository, newest, WEEK, clock).outcome

    assert outcome() is Outcome.FAILED
    repository.retained[key] = clock.now() + timedelta(days=6)
    assert outcome() is Outcome.FAILED, "a lock of a day less"
    repository.retained[key] = clock.now() + timedelta(days=7)
    assert outcome() is Outcome.PASSED
    clock.pass_time(timedelta(days=8))
    assert outcome() is Outcome.NOT_APPLICABLE, "it was, and its time is over"
    repository.bodies.clear()
    assert outcome() is Outcome.FAILED


def test_what_a_delete_marker_hides_is_not_in_order() -> None:
    bucket = MemoryBucket()
    bucket.markers = ["wal/1/00000001/x", "other/thing"]

    assert judge_hidden(bucket, copy="primary").outcome is Outcome.PASSED
    bucket.markers.append("full/20261120-020000/manifest.json")
    found = judge_hidden(bucket, copy="primary")

    assert found.outcome is Outcome.FAILED
    assert "hides 1 objects: full/20261120-020000/manifest.json" in found.seen


def _lock_of(**values: str) -> ObjectLock | None:
    settings = load_settings({"KB_DR_REPOSITORY_URL": "s3://backups", **values})
    assert isinstance(settings.primary, S3Settings)
    return settings.primary.object_lock


def test_settings_say_mode_and_days_together() -> None:
    mode, days = "KB_DR_REPOSITORY_OBJECT_LOCK_MODE", "KB_DR_REPOSITORY_OBJECT_LOCK_DAYS"

    assert _lock_of() is None
    assert _lock_of(**{mode: "off", days: "7"}) is None
    assert _lock_of(**{mode: "Governance", days: "7"}) == WEEK
    assert _lock_of(**{mode: "compliance", days: "1"}) == FIRM_DAY
    for values in ({mode: "governance"}, {mode: "hard", days: "7"}, {mode: "off", days: "-1"}):
        with pytest.raises(ConfigurationError, match="OBJECT_LOCK"):
            _lock_of(**values)


def test_a_directory_cannot_be_told_to_lock() -> None:
    with pytest.raises(ConfigurationError, match="OFFSITE_OBJECT_LOCK_MODE: a directory locks"):
        load_settings(
            {
                "KB_DR_OFFSITE_URL": "/mnt/offsite",
                "KB_DR_OFFSITE_OBJECT_LOCK_MODE": "governance",
                "KB_DR_OFFSITE_OBJECT_LOCK_DAYS": "7",
            }
        )
