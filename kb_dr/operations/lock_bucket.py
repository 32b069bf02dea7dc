"""Object Lock of a bucket: set as the settings say, never weakened, and looked at afterwards."""

from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.finding import Finding
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.object_lock import ObjectLock
from kb_dr.domain.proof import Outcome
from kb_dr.errors import RepositoryError
from kb_dr.ports import Bucket, Clock, Repository

_SLACK = timedelta(hours=1)
"""A store may count from when an upload began."""

_INIT = "Run `kb-dr init`: it lengthens what the bucket retains, and never shortens it."


def lock_bucket(bucket: Bucket, wanted: ObjectLock, *, name: str) -> ObjectLock:
    """Have the bucket retain at least as much as is wanted; return what it retains now.

    A longer time or a firmer mode that stands there already stays. Raises RepositoryError when
    the bucket cannot lock, or holds something else afterwards.
    """
    stands = bucket.object_lock()
    if stands is not None and stands.covers(wanted):
        return stands
    target = wanted.or_firmer(stands)
    bucket.set_object_lock(target)
    holds = bucket.object_lock()
    if holds is None or not holds.covers(target):
        raise RepositoryError(
            f"set Object Lock of {name}: the bucket retains {holds or 'nothing'} afterwards, "
            f"expected {target}",
            hint="The store does not keep what it is told: do not rely on its locks.",
        )
    return holds


def judge_lock(bucket: Bucket, wanted: ObjectLock | None, *, copy: str) -> Finding:
    """Whether a bucket retains what the settings say."""
    subject = f"Object Lock of {copy}"
    stands = bucket.object_lock()
    if wanted is None:
        seen = f"the bucket retains {stands}" if stands else "none: whoever has the keys can delete"
        return Finding(subject, Outcome.NOT_APPLICABLE, f"not configured; {seen}")
    if stands is not None and stands.covers(wanted):
        return Finding(subject, Outcome.PASSED, str(stands))
    if not bucket.can_lock():
        return Finding(
            subject,
            Outcome.FAILED,
            f"the bucket was made without it, expected {wanted}",
            "Object Lock is chosen when a bucket is made: docs/immutability.md.",
        )
    return Finding(
        subject, Outcome.FAILED, f"{stands or 'nothing'} is retained, expected {wanted}", _INIT
    )


def judge_retained(
    repository: Repository, newest: Manifest, wanted: ObjectLock, clock: Clock
) -> Finding:
    """Whether a backup bears the lock it should: looked up where it is stored."""
    subject = f"{repository.name} retains {newest.id}"
    key = layout.manifest_key(newest.backup_id)
    found = repository.find(key)
    if found is None:
        return Finding(subject, Outcome.FAILED, f"{key} is not there")
    until = repository.retained_until(key)
    if until is not None and until >= found.modified + wanted.span - _SLACK:
        return Finding(subject, Outcome.PASSED, f"until {until:%Y-%m-%d %H:%M:%SZ}")
    if until is None and clock.now() >= found.modified + wanted.span:
        return Finding(
            subject, Outcome.NOT_APPLICABLE, f"its {wanted.days} days are over", "Take a backup."
        )
    return Finding(
        subject,
        Outcome.FAILED,
        (f"only until {until:%Y-%m-%d %H:%M:%SZ}" if until else "it can be deleted now")
        + f", expected {wanted}",
        "It was stored before the bucket retained this much: take a full backup once it does.",
    )
