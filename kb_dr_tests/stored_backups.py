"""Backups as a repository holds them, made up: real manifests, digests and WAL headers, no rows."""

import hashlib
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.manifest import Manifest, Source, StoredManifest, WalPosition
from kb_dr.domain.wal_names import Segment
from kb_dr.operations.catalog import store_manifest
from kb_dr.ports import Codec, Repository

SYSTEM = 7_300_000_000_000_000_001
SEGMENT_BYTES = 1024 * 1024
STARTED = datetime(2026, 11, 20, 2, tzinfo=UTC)


def segment(number: int, timeline: int = 1) -> Segment:
    """A WAL segment of the cluster these backups are of."""
    return Segment(timeline, number, SEGMENT_BYTES)


def segment_content(each: Segment, *, system: int = SYSTEM) -> bytes:
    """A segment with a true header and no records."""
    head = struct.pack(
        "<HHIQI4xQII", 0xD113, 2, each.timeline, each.start, 0, system, each.segment_bytes, 8192
    )
    return head + bytes(each.segment_bytes - len(head))


def store_wal(repository: Repository, codec: Codec, name: str, plain: bytes) -> str:
    """Archive one WAL file as a push does; return its key."""
    key = layout.wal_key(SYSTEM, name, hashlib.sha256(plain).hexdigest())
    repository.put(key, codec.encode(plain))
    return key


def store_segments(repository: Repository, codec: Codec, first: int, last: int) -> list[str]:
    """Archive segments ``first`` to ``last``, both included; return their keys."""
    return [
        store_wal(repository, codec, segment(number).name, segment_content(segment(number)))
        for number in range(first, last + 1)
    ]


def store_objects(
    repository: Repository,
    *,
    started: datetime = STARTED,
    attempt: str = "a1",
    chunks: int = 3,
    start: int = 2,
    stop: int = 3,
) -> Manifest:
    """Everything of a backup but its WAL and the manifest, which is returned.

    ``start`` and ``stop`` are the segments in which it starts and stops.
    """
    backup = BackupId.of("kb", BackupKind.FULL, started)
    stored = tuple(
        repository.put(layout.chunk_key(backup, attempt, number), b"%d of %s" % (number, b"x" * 99))
        for number in range(chunks)
    )
    own = repository.put(layout.postgres_manifest_key(backup, attempt), b"postgres manifest")
    stop_lsn = segment(stop).start.plus(0x1000)
    return Manifest(
        schema_version=records.SCHEMA_VERSION,
        id=str(backup),
        attempt=attempt,
        kind=BackupKind.FULL,
        engine="native",
        service="kb",
        org="default",
        started=started,
        finished=started + timedelta(minutes=1),
        wal=WalPosition(1, segment(start).start.plus(0x28), stop_lsn),
        source=_SOURCE,
        fingerprint=Fingerprint(str(backup), stop_lsn.plus(0x100), ()),
        chunks=stored,
        plain_bytes=1000,
        plain_sha256="0" * 64,
        postgres_manifest=own,
        compression="zstd-1",
        recipients=("age1example",),
        tools={"pg_basebackup": "16.14"},
        host="db1",
    )


def store_backup(
    repository: Repository,
    codec: Codec,
    *,
    started: datetime = STARTED,
    start: int = 2,
    stop: int = 3,
    chunks: int = 3,
) -> StoredManifest:
    """A whole backup: objects, WAL, manifest."""
    manifest = store_objects(repository, started=started, start=start, stop=stop, chunks=chunks)
    store_segments(repository, codec, start, stop)
    return store_manifest(repository, manifest)


_SOURCE = Source(
    host="db1",
    system_identifier=SYSTEM,
    server_version=160014,
    segment_bytes=SEGMENT_BYTES,
    database="kb",
    data_checksums=True,
    extensions={"vector": "0.8.5"},
    schema_version="0007",
    settings={"max_connections": "100"},
    size_bytes=1000,
)


def encrypted_backup(
    repository: Repository,
    codec: Codec,
    *,
    started: datetime = STARTED,
    start: int = 2,
    stop: int = 3,
) -> StoredManifest:
    """As store_backup(), with chunks that the codec made, and digests of what is in them."""
    manifest = store_objects(repository, started=started, chunks=0, start=start, stop=stop)
    backup = manifest.backup_id
    plain = hashlib.shake_256(b"a tar, as far as anybody here looks").digest(5000)
    coded = codec.encode(plain)
    half = len(coded) // 2
    chunks = tuple(
        repository.put(layout.chunk_key(backup, "a1", number), part)
        for number, part in enumerate((coded[:half], coded[half:]))
    )
    store_segments(repository, codec, start, stop)
    return store_manifest(
        repository,
        replace(
            manifest,
            chunks=chunks,
            plain_bytes=len(plain),
            plain_sha256=hashlib.sha256(plain).hexdigest(),
            recipients=codec.recipients,
        ),
    )
