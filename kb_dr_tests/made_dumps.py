"""Logical dumps as a repository holds them, made up: real manifests and digests, no rows."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import PG_DUMP, DatabaseShape, DumpFacts, DumpFormat
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.manifest import Manifest, StoredManifest, WalPosition
from kb_dr.operations.catalog import store_manifest
from kb_dr.ports import Codec, Repository
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.stored_backups import STARTED, segment, store_objects

DUMPED = STARTED + timedelta(hours=1)
"""An hour behind the base backups of stored_backups."""

ARCHIVE = hashlib.shake_256(b"an archive, as far as anybody here looks").digest(5000)


def dump_manifest(
    repository: Repository, codec: Codec, *, started: datetime = DUMPED, attempt: str = "d1"
) -> Manifest:
    """Everything of a dump but the manifest, which is returned: two chunks and the globals.

    It is of the cluster whose base backups stored_backups makes.
    """
    backup = BackupId.of("kb", BackupKind.DUMP, started)
    coded = codec.encode(ARCHIVE)
    half = len(coded) // 2
    chunks = tuple(
        repository.put(layout.chunk_key(backup, attempt, number), part)
        for number, part in enumerate((coded[:half], coded[half:]))
    )
    roles = repository.put(layout.globals_key(backup, attempt), codec.encode(b"create role kb;\n"))
    lsn = segment(5).start.plus(0x2000)
    base = store_objects(MemoryRepository("elsewhere"))
    return replace(
        base,
        id=str(backup),
        attempt=attempt,
        kind=BackupKind.DUMP,
        engine=PG_DUMP,
        started=started,
        finished=started + timedelta(minutes=1),
        wal=WalPosition(1, lsn, lsn),
        fingerprint=Fingerprint(str(backup), lsn, ()),
        chunks=chunks,
        plain_bytes=len(ARCHIVE),
        plain_sha256=hashlib.sha256(ARCHIVE).hexdigest(),
        postgres_manifest=None,
        recipients=codec.recipients,
        tools={"pg_dump": "16.14"},
        dump=DumpFacts(
            format=DumpFormat.CUSTOM,
            program="16.14",
            shape=DatabaseShape("UTF8", "C.UTF-8", "C.UTF-8", "libc", None),
            roles=("kb",),
            globals=roles,
        ),
    )


def store_dump(
    repository: Repository, codec: Codec, *, started: datetime = DUMPED
) -> StoredManifest:
    """A whole dump: objects and manifest, and no WAL."""
    return store_manifest(repository, dump_manifest(repository, codec, started=started))
