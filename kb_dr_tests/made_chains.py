"""Chains as a repository holds them, made up: a full, increments, recovery points; no rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.manifest import Manifest, StoredManifest, WalPosition
from kb_dr.operations.catalog import store_manifest
from kb_dr.ports import Codec, Repository
from kb_dr_tests.stored_backups import segment, store_backup, store_segments

Change = Callable[[Manifest], Manifest]


def same(manifest: Manifest) -> Manifest:
    """No change."""
    return manifest


def store_increment(
    repository: Repository,
    codec: Codec,
    parent: StoredManifest,
    *,
    hours: int = 1,
    start: int | None = None,
    files: bool = True,
    change: Change = same,
) -> StoredManifest:
    """An increment to ``parent``, or without ``files`` a recovery point, so many hours after it.

    It starts in segment ``start``; without one, in the segment after its parent's.
    """
    made = parent.manifest
    started = made.started + timedelta(hours=hours)
    backup = BackupId.of("kb", BackupKind.INCR, started)
    first = start or made.wal.start // made.source.segment_bytes + 1
    begin = segment(first).start.plus(0x28) if files else made.wal.start
    stop = segment(first + 1).start.plus(0x1000)
    store_segments(repository, codec, first, first + 1)
    own = repository.put(layout.postgres_manifest_key(backup, "a1"), b"its own") if files else None
    keys = [layout.chunk_key(backup, "a1", 0)] if files else []
    chunks = tuple(repository.put(key, str(backup).encode()) for key in keys)
    manifest = replace(
        made,
        id=str(backup),
        kind=BackupKind.INCR,
        engine="native" if files else "recovery-point",
        started=started,
        finished=started + timedelta(minutes=1),
        wal=WalPosition(made.wal.timeline, begin, stop),
        fingerprint=Fingerprint(str(backup), stop.plus(0x100), ()),
        chunks=chunks,
        plain_bytes=100 if files else 0,
        postgres_manifest=own,
        parent=made.id,
        parent_digest=parent.digest,
    )
    return store_manifest(repository, change(manifest))


def store_chain(repository: Repository, codec: Codec, increments: int) -> list[StoredManifest]:
    """A full and so many increments, each on the one before."""
    chain = [store_backup(repository, codec)]
    for _ in range(increments):
        chain.append(store_increment(repository, codec, chain[-1]))
    return chain
