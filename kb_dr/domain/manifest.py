"""The manifest of a backup: what it consists of. Its presence in a repository is the backup's."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import DumpFacts
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.stored import StoredObject
from kb_dr.domain.tablespaces import Tablespace


@dataclass(frozen=True, slots=True)
class WalPosition:
    """The WAL a base backup needs to become consistent.

    Of a logical dump, which needs none, it is where its snapshot was taken, as start and as stop.
    """

    timeline: int
    start: Lsn
    """Where recovery begins (the checkpoint's redo position)."""
    stop: Lsn
    """Recovery must pass this before the cluster is consistent."""


@dataclass(frozen=True, slots=True)
class VectorBaseline:
    """How well one HNSW or IVFFlat index answered at the source."""

    table: str
    column: str
    index: str
    dimensions: int
    recall_at_10: float
    """0 to 1: index answers against exact search, over ``queries`` stored vectors."""
    queries: int


@dataclass(frozen=True, slots=True)
class Source:
    """The cluster a backup was taken from, as it was then."""

    host: str
    system_identifier: int
    server_version: int
    """``server_version_num``, e.g. 160014."""
    segment_bytes: int
    database: str
    data_checksums: bool
    extensions: dict[str, str]
    """Name to version, of the database under protection."""
    schema_version: str | None
    """The migration version (``alembic_version``); None when there is no such table."""
    settings: dict[str, str]
    """Settings a restore needs: ``max_connections`` and its siblings, locale, preloads."""
    size_bytes: int
    """All databases together, before compression; of a dump, the one that was dumped."""
    vectors: tuple[VectorBaseline, ...] = ()
    invalid_indexes: tuple[str, ...] = ()
    """Indexes that were invalid at the source already: no fault of the backup."""
    tablespaces: tuple[Tablespace, ...] = ()
    """Besides pg_default and pg_global. Their files are in the same tar as all others."""

    @property
    def major(self) -> int:
        """The major version, e.g. 16."""
        return self.server_version // 10000


@dataclass(frozen=True, slots=True)
class Manifest:
    """One complete backup: full, the increment to its parent, or a logical dump."""

    schema_version: int
    id: str
    attempt: str
    kind: BackupKind
    engine: str
    service: str
    org: str
    started: datetime
    finished: datetime
    wal: WalPosition
    source: Source
    fingerprint: Fingerprint
    chunks: tuple[StoredObject, ...]
    plain_bytes: int
    """Length of the tar, or of the dump."""
    plain_sha256: str
    """Digest of that: the same whatever it was encrypted to."""
    postgres_manifest: StoredObject | None
    """PostgreSQL's own; None only where there are no files of the cluster: for a recovery point
    and for a logical dump."""
    compression: str
    recipients: tuple[str, ...]
    tools: dict[str, str]
    """Program to version."""
    host: str
    """The machine that took the backup."""
    configuration: StoredObject | None = None
    parent: str | None = None
    """The backup this one cannot be restored without; None for a full."""
    parent_digest: str | None = None
    """Digest of the parent's manifest as it was then: another of the same id is no parent."""
    replaces: str | None = None
    """The backup whose very bytes these are, encrypted to other recipients."""
    dump: DumpFacts | None = None
    """None for what is made of files and WAL."""
    notes: tuple[str, ...] = field(default=())
    """What an operator should know: rows that moved while sampling, a table without a key."""

    @property
    def backup_id(self) -> BackupId:
        """The id, taken apart."""
        return BackupId.parse(self.id)

    @property
    def is_dump(self) -> bool:
        """Whether it is a logical dump: it needs no WAL, and gives no point in time but its own."""
        return self.dump is not None

    @property
    def has_files(self) -> bool:
        """Whether it holds files of the cluster; a recovery point takes those of its parent."""
        return bool(self.chunks) and not self.is_dump

    @property
    def stored_bytes(self) -> int:
        """What it takes in the repository."""
        return sum(chunk.size_bytes for chunk in self.chunks)

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        """Everything it names, besides itself and WAL."""
        of_dump = None if self.dump is None else self.dump.globals
        extras = (self.postgres_manifest, self.configuration, of_dump)
        return (*self.chunks, *(extra for extra in extras if extra is not None))


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as read from one copy, with the digest of its very bytes."""

    manifest: Manifest
    digest: str
    """SHA-256 of the bytes stored: the data version of the backup, the same in every copy."""
    copy: str
    """The repository it was read from."""


def manifest_digest(body: bytes) -> str:
    """The digest that proofs, checks and copies compare."""
    return hashlib.sha256(body).hexdigest()
