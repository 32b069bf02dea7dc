"""What `kb-dr doctor` says of the bucket a copy lies in."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from kb_dr.domain import layout
from kb_dr.domain.finding import Finding
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.object_lock import ObjectLock
from kb_dr.domain.proof import Outcome
from kb_dr.errors import KbDrError
from kb_dr.operations.lifecycle import judge_lifecycle
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.lock_bucket import judge_lock, judge_retained
from kb_dr.ports import Bucket, Clock, Repository
from kb_dr.settings import Settings

_BACKUPS = tuple(layout.backups_prefix(kind) for kind in ALL_KINDS)
NOT_WAL = (layout.MARKER, *_BACKUPS, layout.PROOFS, layout.HOLDS, layout.TOMBSTONES)
"""Where hidden objects are looked for each time; all WAL is `kb-dr retention hidden`'s to walk."""

_ENOUGH = 1000


class Surroundings(Protocol):
    """As much of an installation as is asked here."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    def checked(self, copy: str) -> Repository: ...
    def bucket(self, copy: str) -> Bucket | None: ...
    def lock_wanted(self, copy: str) -> ObjectLock | None: ...


def judge_bucket(here: Surroundings, copy: str, newest: Manifest | None) -> Iterator[Finding]:
    """Findings on locks, hidden objects and lifecycle rules; none where it is a directory."""
    bucket, wanted = here.bucket(copy), here.lock_wanted(copy)
    if bucket is None:
        return
    try:
        bucket.keeps_versions()
    except KbDrError as error:
        yield Finding(f"bucket of {copy}", Outcome.COULD_NOT_RUN, str(error), error.hint)
        return
    yield _tried(f"Object Lock of {copy}", lambda: judge_lock(bucket, wanted, copy=copy))
    if newest is not None and wanted is not None:
        yield _tried(
            f"{copy} retains {newest.id}",
            lambda: judge_retained(here.checked(copy), newest, wanted, here.clock),
        )
    yield _tried(f"hidden in {copy}", lambda: judge_hidden(bucket, copy=copy))
    policy = here.settings.retention[copy]
    yield _tried(f"lifecycle of {copy}", lambda: judge_lifecycle(bucket, policy, copy=copy))


def judge_hidden(bucket: Bucket, *, copy: str) -> Finding:
    """Whether somebody's plain delete, or a rule of the bucket, hides what is kept."""
    subject = f"hidden in {copy}"
    if not bucket.keeps_versions():
        return Finding(subject, Outcome.NOT_APPLICABLE, "the bucket keeps no versions")
    found = list(islice((each for part in NOT_WAL for each in bucket.hidden(part)), _ENOUGH))
    if not found:
        return Finding(subject, Outcome.PASSED, "no delete marker hides a backup or record")
    many = f"{len(found)} or more" if len(found) == _ENOUGH else str(len(found))
    return Finding(
        subject,
        Outcome.FAILED,
        f"a delete marker hides {many} objects: {found[0].key}, "
        f"since {found[0].hidden_at:%Y-%m-%d %H:%M:%SZ}",
        f"Its bytes are there: `kb-dr retention hidden --copy {copy}` brings it back.",
    )


def _tried(subject: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except KbDrError as error:
        return Finding(subject, Outcome.COULD_NOT_RUN, str(error), error.hint)
