"""Copy a backup to another repository: chunks, then the WAL it needs, and its manifest last.

The copy exists when its manifest does, byte for byte the same: one digest names all of them.
Proofs are not copied: each speaks of the copy it read.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import Manifest, manifest_digest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import (
    ChecksumMismatch,
    CopyIncomplete,
    ObjectConflict,
    ObjectMissing,
    WalDamaged,
    WalGap,
)
from kb_dr.operations.copied_chain import brought_wal, lacking_parents
from kb_dr.operations.copy_object import copy_recorded, copy_wal_object
from kb_dr.operations.copy_wal import follow_wal, recent_wal
from kb_dr.operations.find_holders import find_holders
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.offered_wal import OfferedWal, find_offered_wal
from kb_dr.operations.room import require_room
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Codec, Progress, Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackupCopy:
    """What one copy_backup() did."""

    backup_id: str
    digest: str
    """Of the manifest, the same at both ends."""
    source: str
    """The copy it was brought from."""
    copy: str
    objects: int
    """Everything the manifest names."""
    copied_objects: int
    """Those that were not there before."""
    copied_bytes: int
    wal_files: int
    """WAL files the backup needs: segments, labels and histories."""
    wal_unchecked: int
    """Those whose plain digest could not be checked on the way, for want of an identity."""
    wal_problems: tuple[str, ...]
    """Files of the archive since the last copy, not needed by this backup, that could not be
    copied: each is a hole in what can be recovered from there.
    """
    already_complete: bool
    """The manifest stood there before."""


def copy_backup(
    source: Repository,
    target: Repository,
    codec: Codec,
    backup: BackupId,
    progress: Progress,
    *,
    others: Sequence[Repository] = (),
    parallel: int = 4,
) -> BackupCopy:
    """Bring one complete backup to ``target``; a second call goes on where the first broke off.

    What ``source`` lacks or has damaged is taken from the first of ``others`` that holds the same
    manifest and has it right. Of a backup whose manifest is there already, only what has gone
    missing since is brought. Of an increment the parents that are not there come first
    (BrokenChain when one is nowhere). Holds ``parallel`` chunks in memory.

    Raises NoUsableBackup, NotEnoughSpace (before a byte is written), WalGap (WAL it needs is in
    no repository), ChecksumMismatch (naming the end whose bytes are wrong), ObjectConflict
    (another backup of this id stands somewhere), CopyIncomplete (something went from there
    meanwhile) and what the repositories raise. Deletes nothing.
    """
    held = find_holders((source, *others), backup)
    manifest, nearest = held.manifest, held.holders[0]
    further = held.holders[1:]
    for parent in lacking_parents(nearest, target, held.stored):
        copy_backup(source, target, codec, parent, progress, others=others, parallel=parallel)
    committed = _is_committed(target, backup, held.stored.digest)
    wal = _needed_wal(held.holders, manifest)
    trusted = _sizes_there(target, manifest) if committed else {}
    objects = [each for each in manifest.objects if _is_due(each, trusted, target)]
    there = frozenset() if committed else brought_wal(target, held.stored)
    files = [
        each
        for each in wal
        # Another size is looked at more closely: encrypted twice, or damaged at one end.
        if each.listed.key not in there and trusted.get(each.listed.key) != each.listed.size_bytes
    ]
    total = sum(each.size_bytes for each in objects)
    total += sum(each.listed.size_bytes for each in files)
    require_room(target, total, f"copy {backup}")

    def bring_object(stored: StoredObject) -> int:
        new = copy_recorded(nearest, target, stored, others=further)
        progress.advance(stored.size_bytes)
        return stored.size_bytes if new else -1

    def bring_wal(offered: OfferedWal) -> bool:
        first, *rest = offered.holders
        checked = copy_wal_object(first, target, codec, offered.listed, others=rest)
        progress.advance(offered.listed.size_bytes)
        return checked

    progress.begin(f"copy {backup} to {target.name}", total)
    try:
        brought = run_parallel(objects, bring_object, at_once=parallel)
        checked = run_parallel(files, bring_wal, at_once=parallel)
    finally:
        progress.end()
    # Before the manifest: recent_wal() takes it as the mark that older WAL has been brought.
    system = manifest.source.system_identifier
    followed = follow_wal(
        nearest,
        target,
        codec,
        system,
        progress,
        since=recent_wal(target, system),
        others=further,
        parallel=parallel,
    )
    if not committed:
        target.put(layout.manifest_key(backup), held.body)
        if not _is_committed(target, backup, held.stored.digest):
            raise ObjectMissing(f"copy {backup}: its manifest does not stand in {target.name}")
        if _lost(target, manifest):
            copy_backup(source, target, codec, backup, progress, others=others, parallel=parallel)
            _require_whole(target, manifest)
    logger.info("copy %s: complete in %s, manifest %s", backup, target.name, held.stored.digest)
    return BackupCopy(
        backup_id=str(backup),
        digest=held.stored.digest,
        source=nearest.name,
        copy=target.name,
        objects=len(manifest.objects),
        copied_objects=sum(size >= 0 for size in brought),
        copied_bytes=sum(size for size in brought if size >= 0),
        wal_files=len(wal),
        wal_unchecked=checked.count(False),
        wal_problems=followed.problems,
        already_complete=committed,
    )


def _is_committed(target: Repository, backup: BackupId, digest: str) -> bool:
    key = layout.manifest_key(backup)
    try:
        there = manifest_digest(target.read(key))
    except ObjectMissing:
        return False
    if there != digest:
        raise ObjectConflict(
            f"copy {backup}: {target.name} holds another manifest of this id ({there}), "
            f"expected {digest}",
            hint="Two repositories were mixed, or one manifest is damaged: `kb-dr validate` "
            "each copy before anything is removed.",
        )
    return True


def _lost(target: Repository, manifest: Manifest) -> list[str]:
    """What was brought or stood there, and went before the manifest spoke for it: retention and
    sweeps go by manifests.
    """
    folders = {each.key.rpartition("/")[0] for each in manifest.objects}
    sizes = {each.key: each.size_bytes for folder in folders for each in target.list(f"{folder}/")}
    lost = [each.key for each in manifest.objects if sizes.get(each.key) != each.size_bytes]
    return [*lost, *find_needed_wal(target, manifest).missing]


def _require_whole(target: Repository, manifest: Manifest) -> None:
    lost = _lost(target, manifest)
    if lost:
        raise CopyIncomplete(
            f"copy {manifest.id}: {len(lost)} files went from {target.name} while it was copied, "
            f"the first is {lost[0]}",
            hint="Copy it again: what is missing is brought.",
        )


def _needed_wal(holders: Sequence[Repository], manifest: Manifest) -> Sequence[OfferedWal]:
    wal = find_offered_wal(holders, manifest)
    where = " and ".join(each.name for each in holders)
    if wal.missing:
        raise WalGap(
            f"copy {manifest.id}: {where} lacks WAL it needs: {', '.join(wal.missing[:5])}"
            + (f" and {len(wal.missing) - 5} more" if len(wal.missing) > 5 else ""),
            hint="This backup cannot be restored from there; take a new one.",
        )
    if wal.doubtful:
        raise WalDamaged(
            f"copy {manifest.id}: {where}: {'; '.join(wal.doubtful[:5])}",
            hint="`kb-dr wal audit` names every such file; take a new backup.",
        )
    return wal.files


def _sizes_there(target: Repository, manifest: Manifest) -> dict[str, int]:
    """What a complete copy holds, by one listing."""
    prefix = layout.backup_prefix(manifest.backup_id)
    sizes = {each.key: each.size_bytes for each in target.list(prefix)}
    sizes.update((each.key, each.size_bytes) for each in find_needed_wal(target, manifest).objects)
    return sizes


def _is_due(each: StoredObject, trusted: dict[str, int], target: Repository) -> bool:
    there = trusted.get(each.key)
    if there is None:
        return True
    if there != each.size_bytes:
        raise ChecksumMismatch(
            f"copy {each.key}: {there} bytes stand in {target.name}, expected {each.size_bytes}"
        )
    return False
