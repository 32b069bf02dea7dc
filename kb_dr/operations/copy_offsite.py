"""Copy a backup to another repository: chunks, then the WAL it needs, and its manifest last.

The copy exists when its manifest does, byte for byte the primary's: one digest names both.
Proofs are not copied: each speaks of the copy it read.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import Manifest, manifest_digest
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import ChecksumMismatch, ObjectConflict, ObjectMissing, WalDamaged, WalGap
from kb_dr.operations.catalog import read_manifest_body
from kb_dr.operations.copied_chain import brought_wal, lacking_parents
from kb_dr.operations.copy_object import copy_recorded, copy_wal_object
from kb_dr.operations.copy_wal import follow_wal, recent_wal
from kb_dr.operations.needed_wal import find_needed_wal
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
    primary: Repository,
    offsite: Repository,
    codec: Codec,
    backup: BackupId,
    progress: Progress,
    *,
    parallel: int = 4,
) -> BackupCopy:
    """Bring one complete backup to ``offsite``; a second call goes on where the first broke off.

    Of a backup whose manifest is there already, only what has gone missing since is brought.
    Of an increment the parents that are not there come first (BrokenChain when one is nowhere).
    Holds ``parallel`` chunks in memory. Raises NoUsableBackup, WalGap (WAL it needs is not in
    ``primary``), ChecksumMismatch (naming the end whose bytes are wrong), ObjectConflict (another
    backup of this id stands there) and what the repositories raise. Deletes nothing.
    """
    found, body = read_manifest_body(primary, backup)
    manifest = found.manifest
    for parent in lacking_parents(primary, offsite, found):
        copy_backup(primary, offsite, codec, parent, progress, parallel=parallel)
    committed = _is_committed(offsite, backup, found.digest)
    wal = _needed_wal(primary, manifest)
    trusted = _sizes_there(offsite, manifest) if committed else {}
    objects = [each for each in manifest.objects if _is_due(each, trusted, offsite)]
    there = frozenset() if committed else brought_wal(offsite, found)
    files = [each for each in wal if each.key not in there and _is_due(each, trusted, offsite)]
    total = sum(each.size_bytes for each in objects) + sum(each.size_bytes for each in files)

    def bring_object(stored: StoredObject) -> int:
        new = copy_recorded(primary, offsite, stored)
        progress.advance(stored.size_bytes)
        return stored.size_bytes if new else -1

    def bring_wal(listed: Listed) -> bool:
        checked = copy_wal_object(primary, offsite, codec, listed)
        progress.advance(listed.size_bytes)
        return checked

    progress.begin(f"copy {backup} to {offsite.name}", total)
    try:
        brought = run_parallel(objects, bring_object, at_once=parallel)
        checked = run_parallel(files, bring_wal, at_once=parallel)
    finally:
        progress.end()
    # Before the manifest: recent_wal() takes it as the mark that older WAL has been brought.
    system = manifest.source.system_identifier
    since = recent_wal(offsite, system)
    followed = follow_wal(primary, offsite, codec, system, progress, since=since, parallel=parallel)
    if not committed:
        offsite.put(layout.manifest_key(backup), body)
        if not _is_committed(offsite, backup, found.digest):
            raise ObjectMissing(f"copy {backup}: its manifest does not stand in {offsite.name}")
    logger.info("copy %s: complete in %s, manifest %s", backup, offsite.name, found.digest)
    return BackupCopy(
        backup_id=str(backup),
        digest=found.digest,
        source=primary.name,
        copy=offsite.name,
        objects=len(manifest.objects),
        copied_objects=sum(size >= 0 for size in brought),
        copied_bytes=sum(size for size in brought if size >= 0),
        wal_files=len(wal),
        wal_unchecked=checked.count(False),
        wal_problems=followed.problems,
        already_complete=committed,
    )


def _is_committed(offsite: Repository, backup: BackupId, digest: str) -> bool:
    key = layout.manifest_key(backup)
    try:
        there = manifest_digest(offsite.read(key))
    except ObjectMissing:
        return False
    if there != digest:
        raise ObjectConflict(
            f"copy {backup}: {offsite.name} holds another manifest of this id ({there}), "
            f"expected {digest}",
            hint="Two repositories were mixed, or one manifest is damaged: `kb-dr validate` "
            "each copy before anything is removed.",
        )
    return True


def _needed_wal(primary: Repository, manifest: Manifest) -> Sequence[Listed]:
    wal = find_needed_wal(primary, manifest)
    if wal.missing:
        raise WalGap(
            f"copy {manifest.id}: {primary.name} lacks WAL it needs: {', '.join(wal.missing[:5])}"
            + (f" and {len(wal.missing) - 5} more" if len(wal.missing) > 5 else ""),
            hint="This backup cannot be restored from there; take a new one.",
        )
    if wal.doubtful:
        raise WalDamaged(
            f"copy {manifest.id}: {primary.name}: {'; '.join(wal.doubtful[:5])}",
            hint="`kb-dr wal audit` names every such file; take a new backup.",
        )
    return wal.objects


def _sizes_there(offsite: Repository, manifest: Manifest) -> dict[str, int]:
    """What a complete copy holds, by one listing."""
    prefix = layout.backup_prefix(manifest.backup_id)
    sizes = {each.key: each.size_bytes for each in offsite.list(prefix)}
    sizes.update((each.key, each.size_bytes) for each in find_needed_wal(offsite, manifest).objects)
    return sizes


def _is_due(each: StoredObject | Listed, trusted: dict[str, int], offsite: Repository) -> bool:
    there = trusted.get(each.key)
    if there is None:
        return True
    if there != each.size_bytes:
        raise ChecksumMismatch(
            f"copy {each.key}: {there} bytes stand in {offsite.name}, expected {each.size_bytes}"
        )
    return False
