"""Bring an expired backup back: its objects stand still, so its manifest is put where it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.tombstone import PurgeStep, Tombstone, latest_step
from kb_dr.domain.wording import moment
from kb_dr.errors import NoUsableBackup, UnreadableRecord, WalGap
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.gather_retention import buried_manifest
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.tombstones import read_steps, stand_again
from kb_dr.ports import Clock, Repository

MARGIN = timedelta(minutes=10)
"""So long before its objects may go nothing is brought back: a purge may be about to begin."""


HELD_FOR = timedelta(hours=1)
"""A backup held for so long is not being purged: it may be brought back after its time as well."""


@dataclass(frozen=True, slots=True)
class Undeleted:
    """What was brought back, the backups it is built upon included."""

    backup_id: str
    copy: str
    brought_back: tuple[str, ...]
    """The full one first; empty when it stood already."""


def undelete_backup(
    repository: Repository,
    others: Sequence[Repository],
    clock: Clock,
    backup: BackupId,
    *,
    reason: str,
    until: timedelta | None,
    hold: Callable[[], object] = lambda: None,
) -> Undeleted:
    """Put back the manifest of a backup that expired in this copy, and those of its parents.

    Every object and all WAL it needs are looked for first, and its objects once more behind it.
    ``until`` is how long after it expired that is allowed: from then on its objects may be going.
    None: somebody has seen to it that they stay. ``hold`` is called once all is there and before
    anything is put back, so that the next retention does not let go of it again. Again is a
    success. Raises NoUsableBackup when it cannot be brought back, WalGap when WAL it needs is gone,
    UnreadableRecord.
    """
    chain: list[tuple[BackupId, Tombstone | None, Manifest]] = []
    current: BackupId | None = backup
    while current is not None:
        last: Tombstone | None = None
        if repository.find(layout.manifest_key(current)) is not None:
            manifest = read_manifest(repository, current).manifest
        else:
            last = _last_step(repository, others, current)
            _require_time(repository, current, last, clock, until)
            manifest = buried_manifest(last)
            _require_whole(repository, manifest)
        chain.append((current, last, manifest))
        current = BackupId.parse(manifest.parent) if manifest.parent else None
    hold()
    brought_back: list[str] = []
    for each, last, manifest in reversed(chain):
        if last is not None:
            repository.put(layout.manifest_key(each), last.manifest.encode())
            try:
                _require_whole(repository, manifest)
            except (NoUsableBackup, WalGap):
                repository.delete(layout.manifest_key(each))  # they were going meanwhile
                raise
            brought_back.append(str(each))
        # Also of one that stands: a run may have been cut off just before it was said.
        stand_again(repository, others, clock, each, reason)
    return Undeleted(str(backup), repository.name, tuple(brought_back))


def _require_time(
    repository: Repository,
    backup: BackupId,
    last: Tombstone,
    clock: Clock,
    until: timedelta | None,
) -> None:
    if until is None or clock.now() < last.at + until - MARGIN:
        return
    raise NoUsableBackup(
        f"undelete {backup} in {repository.name}: its time was over at "
        f"{moment(last.at + until - MARGIN)}",
        hint=f"If its objects still stand: `kb-dr hold {backup} --reason …`, and this "
        "again an hour later.",
    )


def _last_step(repository: Repository, others: Sequence[Repository], backup: BackupId) -> Tombstone:
    """The step that let it go; read from another copy where this one's record is damaged."""
    last: Tombstone | None = None
    try:
        last = latest_step(read_steps(repository, backup, repository.name))
    except UnreadableRecord:
        for other in others:
            last = latest_step(read_steps(other, backup, repository.name))
            if last is not None:
                break
        else:
            raise
    if last is None or last.step is PurgeStep.UNDELETED:
        raise NoUsableBackup(
            f"undelete {backup} in {repository.name}: retention has not let go of it there",
            hint="`kb-dr retention plan` shows what goes, `kb-dr list` what there is.",
        )
    if last.step is PurgeStep.PURGED:
        raise NoUsableBackup(
            f"undelete {backup} in {repository.name}: its objects went at {moment(last.at)}",
            hint="Another copy may hold it: `kb-dr list --from offsite`.",
        )
    return last


def _require_whole(repository: Repository, manifest: Manifest) -> None:
    prefix = layout.attempt_prefix(manifest.backup_id, manifest.attempt)
    sizes = {each.key: each.size_bytes for each in repository.list(prefix)}
    lost = [each.key for each in manifest.objects if sizes.get(each.key) != each.size_bytes]
    if lost:
        raise NoUsableBackup(
            f"undelete {manifest.id} in {repository.name}: {len(lost)} of its objects are not "
            f"there, the first is {lost[0]}",
            hint="Another copy may hold it: `kb-dr list --from offsite`.",
        )
    wal = find_needed_wal(repository, manifest)
    if wal.missing:
        raise WalGap(
            f"undelete {manifest.id} in {repository.name}: WAL it needs is not there, the first "
            f"is {wal.missing[0]}"
        )
