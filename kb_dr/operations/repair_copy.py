"""Mend a copy of a backup that differs from its manifest, from copies that do not.

Nothing is overwritten blindly: the good bytes are read and held against the digest the manifest
records, then the bad object is deleted, then the good one is put. The manifest is mended last,
when all it names is right. Proofs are left as they are: a copy that failed is red until it is
proven anew.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import manifest_digest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import (
    ChecksumMismatch,
    ObjectConflict,
    ObjectMissing,
    UnreadableRecord,
)
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.copy_object import put_recorded, read_good
from kb_dr.operations.find_holders import Held, find_holders
from kb_dr.operations.repair_wal import WalMender, needed_files
from kb_dr.operations.replace_object import Mended, replace_object
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Codec, Progress, Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Repair:
    """What one repair_backup() did."""

    backup_id: str
    digest: str
    copy: str
    looked_at: int
    """Objects and WAL files, every byte of them."""
    unchecked: int
    """WAL files that no identity at hand opens: nobody can tell whether they are right."""
    mended: tuple[str, ...]
    """What was wrong and is right now, with the copy it was taken from."""
    left: tuple[str, ...]
    """What is wrong still, and why."""


def repair_backup(
    sources: Sequence[Repository],
    target: Repository,
    codec: Codec,
    backup: BackupId,
    progress: Progress,
    *,
    parallel: int = 4,
) -> Repair:
    """Read all of one backup in ``target``, and mend what differs from ``sources``' manifest.

    Raises ObjectConflict when two manifests of this id differ (nothing is touched then),
    UnreadableRecord for one of another schema version, NoUsableBackup when no source holds the
    backup, and what the repositories raise that do not answer. What the store refuses to delete
    is named in ``left``.
    """
    held = find_holders(sources, backup)
    broken = _wrong_manifest(target, backup, held)
    mender = WalMender(held.holders, target, codec)
    files = needed_files(held, target)
    total = sum(each.size_bytes for each in held.manifest.objects)
    progress.begin(
        f"repair {backup} in {target.name}", total + sum(each.size_bytes for each in files.listed)
    )
    try:
        done = run_parallel(
            held.manifest.objects,
            lambda each: _told(_mend_object(held, target, each), each.size_bytes, progress),
            at_once=parallel,
        )
        done += run_parallel(
            files.listed,
            lambda each: _told(mender.mend(each), each.size_bytes, progress),
            at_once=parallel,
        )
    finally:
        progress.end()
    left = [*files.left, *(each.left for each in done if each.left)]
    mended = [each.mended for each in done if each.mended]
    if broken is not None:
        last = _mend_manifest(held, target, backup, broken, whole=not left)
        left += [last.left] if last.left else []
        mended += [last.mended] if last.mended else []
    for each in mended:
        logger.warning("repaired in %s: %s", target.name, each)
    return Repair(
        backup_id=str(backup),
        digest=held.stored.digest,
        copy=target.name,
        looked_at=len(done) + 1,
        unchecked=sum(each.unchecked for each in done),
        mended=tuple(mended),
        left=tuple(left),
    )


def _told(done: Mended, size_bytes: int, progress: Progress) -> Mended:
    progress.advance(size_bytes)
    return done


def _wrong_manifest(target: Repository, backup: BackupId, held: Held) -> str | None:
    """What is wrong with the manifest there; None when it is the very same."""
    key = layout.manifest_key(backup)
    try:
        body = target.read(key)
    except ObjectMissing:
        return "missing"
    if manifest_digest(body) == held.stored.digest:
        return None
    version = records.schema_version_of(body)
    try:
        there = read_manifest(target, backup).digest
    except UnreadableRecord as error:
        if version is not None and version != records.SCHEMA_VERSION:
            raise  # not damaged: written by another version of kb_dr
        return str(error)
    raise ObjectConflict(
        f"repair {backup}: {target.name} holds another manifest of this id ({there}), "
        f"{held.holders[0].name} has {held.stored.digest}",
        hint="Nobody can tell which of them is right: look at both manifests before anything is "
        "removed.",
    )


def _mend_object(held: Held, target: Repository, stored: StoredObject) -> Mended:
    there = True
    try:
        target.get(stored)
    except ObjectMissing:
        wrong, there = "missing", False
    except ChecksumMismatch as error:
        wrong = str(error)
    else:
        return Mended()
    try:
        body, source = read_good(held.holders, stored)
    except (ChecksumMismatch, ObjectMissing) as error:
        asked = "; ".join((f"no other copy has it right: {error}", *held.troubles))
        return Mended(left=f"{stored.key}: {wrong}; {asked}")
    return replace_object(
        target,
        stored.key,
        wrong,
        source.name,
        lambda: put_recorded(target, stored, body),
        there=there,
    )


def _mend_manifest(
    held: Held, target: Repository, backup: BackupId, wrong: str, *, whole: bool
) -> Mended:
    key = layout.manifest_key(backup)
    if not whole:
        return Mended(left=f"{key}: {wrong}; it is not put before all it names is right")

    def put() -> None:
        target.put(key, held.body)

    there = wrong != "missing"
    return replace_object(target, key, wrong, held.holders[0].name, put, there=there)
