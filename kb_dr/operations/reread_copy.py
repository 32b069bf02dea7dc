"""Read a part of a copy again, byte by byte: what rots silently is found within a month.

Objects are held against the digests their manifest records, WAL against the digest in its key.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kb_dr.domain import layout
from kb_dr.domain.integrity_report import Reread
from kb_dr.domain.reread import slice_of
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import (
    ChecksumMismatch,
    ObjectConflict,
    ObjectMissing,
    WalDamaged,
    WrongCluster,
)
from kb_dr.operations.audit_wal import clusters_present
from kb_dr.operations.batches import batches
from kb_dr.operations.copy_object import check_wal_object
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Codec, Progress, Repository

_BAD = (ChecksumMismatch, ObjectConflict, WalDamaged, WrongCluster)
"""What speaks of one object, and not of a repository."""

_AT_ONCE = 64
"""Objects between two looks at what came of them: bounds what is held in memory."""

_MOST_NAMED = 1000


@dataclass(slots=True)
class _Found:
    objects: int = 0
    size_bytes: int = 0
    unchecked: int = 0
    damaged: list[str] = field(default_factory=list)
    more: int = 0
    damaged_slices: set[int] = field(default_factory=set)

    def add(self, item: StoredObject | Listed, outcome: bool | str) -> None:
        self.objects += 1
        self.size_bytes += item.size_bytes
        self.unchecked += outcome is False
        if isinstance(outcome, str):
            self.damaged_slices.add(slice_of(item.key))
            if len(self.damaged) < _MOST_NAMED:
                self.damaged.append(outcome)
            else:
                self.more += 1


def reread_copy(
    repository: Repository,
    codec: Codec,
    objects: Iterable[StoredObject],
    slices: Collection[int],
    progress: Progress,
    *,
    again: Collection[int] = (),
    parallel: int = 4,
) -> Reread:
    """Read the objects of backups that are given, and all WAL of these slices.

    ``again`` are slices besides, in which damage was found before: they do not miss their turn.
    The objects are those of all of them: see objects_in().
    Damage is reported, not raised. Raises what the repository raises when it cannot be asked:
    nothing counts as read then.
    """
    found, wanted = _Found(), {*slices, *again}

    def read_object(stored: StoredObject) -> bool | str | None:
        return _outcome(repository, stored.key, lambda: bool(repository.get(stored)) or True)

    def read_wal(listed: Listed) -> bool | str | None:
        return _outcome(
            repository,
            listed.key,
            lambda: check_wal_object(repository, codec, listed.key, repository.read(listed.key)),
        )

    progress.begin(f"read a part of {repository.name} again")
    try:
        for some in batches(objects, _AT_ONCE):
            _note(found, some, run_parallel(some, read_object, at_once=parallel), progress)
        for files in batches(_wal(repository, wanted), _AT_ONCE):
            _note(found, files, run_parallel(files, read_wal, at_once=parallel), progress)
    finally:
        progress.end()
    return Reread(
        slices=tuple(sorted(slices)),
        objects=found.objects,
        size_bytes=found.size_bytes,
        unchecked=found.unchecked,
        damaged=tuple(found.damaged),
        more_damaged=found.more,
        damaged_slices=tuple(sorted(found.damaged_slices)),
    )


def _note(
    found: _Found,
    items: Sequence[StoredObject | Listed],
    outcomes: Sequence[bool | str | None],
    progress: Progress,
) -> None:
    for item, outcome in zip(items, outcomes, strict=True):
        if outcome is not None:
            found.add(item, outcome)
            progress.advance(item.size_bytes)


def _outcome(repository: Repository, key: str, read: Callable[[], bool]) -> bool | str | None:
    """True: read and right; False: read, and nobody here can tell; text: what is wrong; None:
    retention let go of it meanwhile.
    """
    try:
        return read()
    except ObjectMissing as error:
        return str(error) if _is_kept(repository, key) else None
    except _BAD as error:
        return str(error)


def _is_kept(repository: Repository, key: str) -> bool:
    """Whether an object that is missing should be there: its backup still exists.

    A WAL file was there a moment ago, when it was listed; what is missing of WAL the rest of the
    report says.
    """
    kind, stamp, *_ = key.split("/")
    manifest = f"{kind}/{stamp}/manifest.json"
    if layout.stamp_of_manifest(manifest) is None:
        return False
    return repository.find(manifest) is not None


def _wal(repository: Repository, slices: Collection[int]) -> Iterator[Listed]:
    for cluster in clusters_present(repository):
        for listed in repository.list(layout.wal_prefix(cluster)):
            if layout.wal_file_of(listed.key) and slice_of(listed.key) in slices:
                yield listed
