"""Remove what unfinished backups left behind."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import Manifest
from kb_dr.errors import ObjectMissing, ObjectRetained, RepositoryError, UnreadableRecord
from kb_dr.operations.let_go import let_go_in
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.tombstones import may_be_open
from kb_dr.ports import Clock, Repository

logger = logging.getLogger(__name__)

GRACE = timedelta(hours=24)
"""Far longer than a running backup goes without storing a chunk, or waits for its WAL."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What stands of one try at one backup."""

    kind: BackupKind
    stamp: str
    prefix: str
    newest: datetime
    """When its last object was stored, by the store's clock."""


def sweep(
    repository: Repository,
    clock: Clock,
    *,
    dry_run: bool,
    grace: timedelta = GRACE,
    others: Sequence[Repository] = (),
) -> tuple[str, ...]:
    """Remove the attempts no manifest names; return their prefixes.

    Never one that stored anything within ``grace``: it may be running. Ages are counted by the
    store's clock where ours is ahead of it: from the newest object there is. Never anything
    beside a manifest that cannot be read, nor what a retention has let go of and may bring back.
    Whether a manifest stands is asked again right before the removal. What is retained is passed
    over, and said. With ``dry_run`` nothing is removed.

    Nor anything of a backup that was complete once, and whose manifest somebody else removed or
    hid: one that was proven, or whose manifest stands in any of ``others`` (it may be being
    brought from there, too).
    """
    attempts = tuple(_attempts(repository))
    now = min(clock.now(), max((each.newest for each in attempts), default=clock.now()))
    old = [each for each in attempts if now - each.newest >= grace]
    unnamed = [each for each in old if not _is_named(repository, each)]
    # After the manifests were asked for: a tombstone is written before its manifest goes.
    expired = _expired(repository) if unnamed else set()
    whole = _Whole(repository, others) if unnamed else None
    swept = []
    for attempt in unnamed:
        if (attempt.kind, attempt.stamp) in expired or _is_named(repository, attempt):
            continue
        if whole is not None and (why := whole.why(attempt)):
            logger.warning(
                "%s of %s is left: no manifest stands beside it, but %s",
                attempt.prefix, repository.name, why,
            )  # fmt: skip
            continue
        if _is_retained(repository, attempt) or not (dry_run or _remove(repository, attempt)):
            continue
        swept.append(attempt.prefix)
    return tuple(swept)


class _Whole:
    """What says that a backup was complete, though no manifest stands here."""

    def __init__(self, repository: Repository, others: Sequence[Repository]) -> None:
        self._repository = repository
        self._others = others
        named = (layout.backup_of_proof(each.key) for each in repository.list(layout.PROOFS))
        self._proofs = {(each.kind, each.stamp) for each in named if each is not None}
        self._purged = _parsed(let_go_in((repository,), repository.name))

    def why(self, attempt: _Attempt) -> str:
        """Empty when nothing does, or when retention has purged it since."""
        known = (attempt.kind, attempt.stamp)
        manifest = layout.manifest_key_of(attempt.kind, attempt.stamp)
        if known in self._purged or self._repository.find(manifest) is not None:
            return ""
        if known in self._proofs:
            return "there are proofs of this backup"
        for other in self._others:
            try:
                if _is_named(other, attempt):
                    return f"its manifest stands in {other.name}"
            except RepositoryError as error:
                return f"{other.name} cannot be asked: {error}"
        return ""


def _attempts(repository: Repository) -> Iterator[_Attempt]:
    """Every attempt that left something, named by a manifest or not; in order of key."""
    for kind in ALL_KINDS:
        prefix = layout.backups_prefix(kind)
        current: _Attempt | None = None
        for listed in repository.list(prefix):
            stamp, _, rest = listed.key.removeprefix(prefix).partition("/")
            attempt, slash, _ = rest.partition("/")
            # Only what this product would have written is its to remove.
            if not slash or layout.stamp_of_manifest(layout.manifest_key_of(kind, stamp)) is None:
                continue
            here = f"{prefix}{stamp}/{attempt}/"
            newest = listed.modified
            if current is not None and current.prefix != here:
                yield current
            elif current is not None:
                newest = max(newest, current.newest)
            current = _Attempt(kind, stamp, here, newest)
        if current is not None:
            yield current


def _is_named(repository: Repository, attempt: _Attempt) -> bool:
    """Whether a manifest says, or may say, that this attempt is the backup."""
    key = layout.manifest_key_of(attempt.kind, attempt.stamp)
    try:
        body = repository.read(key)
    except ObjectMissing:
        return False
    try:
        manifest = records.from_json(Manifest, body, what=key)
    except UnreadableRecord:
        return True  # of a newer kb_dr, or damaged: its chunks may be all that is left
    return attempt.prefix == layout.attempt_prefix(manifest.backup_id, manifest.attempt)


def _expired(repository: Repository) -> set[tuple[BackupKind, str]]:
    """Kind and stamp of what goes by retention's hands, in its time, or comes back."""
    return _parsed(may_be_open(repository))


def _parsed(names: Iterable[str]) -> set[tuple[BackupKind, str]]:
    found: set[tuple[BackupKind, str]] = set()
    for name in names:
        try:
            backup = BackupId.parse(name)
        except ValueError:
            continue  # no backup's name: it covers nothing
        found.add((backup.kind, backup.stamp))
    return found


def _is_retained(repository: Repository, attempt: _Attempt) -> bool:
    until = repository.retained_until(attempt.prefix)
    if until is not None:
        logger.info("%s of %s is retained until %s", attempt.prefix, repository.name, until)
    return until is not None


def _remove(repository: Repository, attempt: _Attempt) -> bool:
    """Whether all of it is gone; what a lock keeps is left for a later sweep."""
    gone = True
    # Listed whole before the first goes: a listing may pass over keys while others vanish.
    for key in [listed.key for listed in repository.list(attempt.prefix)]:
        try:
            repository.delete(key)
        except ObjectRetained as retained:
            logger.info("left: %s", retained)
            gone = False
    return gone
