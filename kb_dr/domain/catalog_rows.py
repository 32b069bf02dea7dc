"""The rows of the catalog database, a class a table: field for column, in the same order.

Rows are made of what the buckets hold and of nothing else: no moment of making, no counter. So
two rebuilds of the same buckets are the same tables. docs/catalog.md says what each word means.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kb_dr.domain.lsn import Lsn

_IDS = uuid.UUID("6f1d7f0e-54a3-5b52-9d0c-6b1f0c2a4e77")


def row_id(backup_id: str) -> uuid.UUID:
    """The ``id`` of a backup's row: the same in every rebuild, on every machine."""
    return uuid.uuid5(_IDS, backup_id)


class BackupState(StrEnum):
    """``backup_logs.status``: what is known of a backup, all copies together."""

    COMPLETED = "completed"
    """It stands in a copy, and nobody has proven it there, or only a blind verifier has."""
    VERIFIED = "verified"
    """It stands in a copy in which it is proven, and nothing speaks against any copy of it."""
    DAMAGED = "damaged"
    """A copy of it failed its proof, cannot be read, or is another backup's than the rest."""
    FAILED = "failed"
    """It never came to its end."""
    EXPIRED = "expired"
    """Its manifest was taken away everywhere; it can be brought back still."""
    PURGED = "purged"
    """Its objects are gone everywhere."""
    LOST = "lost"
    """Records speak of it, it stands nowhere, and nothing says that it was let go of."""
    UNKNOWN = "unknown"
    """It stands in none of the copies that answered, and one did not answer."""


class CopyState(StrEnum):
    """``backup_copies.state``: what one copy holds of a backup."""

    STORED = "stored"
    UNREADABLE = "unreadable"
    """A manifest stands there that cannot be read."""
    EXPIRED = "expired"
    PURGED = "purged"
    LOST = "lost"
    """It was put back there once, and is not there now."""
    UNKNOWN = "unknown"
    """The copy did not answer."""


UNKNOWN = "unknown"
"""A standing that could not be told: the copy, or a record, could not be read."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """``backup_logs``: one backup, all copies together."""

    id: uuid.UUID
    backup_id: str
    backup_type: str
    backup_timestamp: datetime
    """When it started."""
    backup_size_bytes: int | None
    """What its chunks take in one copy, compressed and encrypted."""
    checksum_md5: str | None
    """Of the manifest, which names the digests of everything else."""
    checksum_sha256: str | None
    location_local: str | None
    """Where it stands in a directory; None when in none."""
    location_s3: str | None
    status: str
    recovery_tested: bool
    test_timestamp: datetime | None
    """When the newest proof began that makes a copy of it proven."""
    recovery_time_seconds: int | None
    """How long that one took, whole seconds, rounded up."""
    created_at: datetime
    """When it was complete, or had failed."""
    verified_at: datetime | None
    """When that proof ended."""
    purged_at: datetime | None
    """When the last of its objects went."""
    error_message: str | None


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """``backup_manifests``: what a backup is made of, and what it was made against."""

    backup_id: str
    digest: str
    kind: str
    engine: str
    parent: str | None
    parent_digest: str | None
    replaces: str | None
    """The backup whose bytes these are, encrypted to other recipients."""
    started: datetime
    finished: datetime
    host: str
    source_host: str
    database: str
    server_version: int
    system_identifier: int
    timeline: int
    wal_start: Lsn
    wal_stop: Lsn
    restore_point: str
    restore_lsn: Lsn
    schema_version: str | None
    plain_bytes: int
    stored_bytes: int
    objects: int


@dataclass(frozen=True, slots=True)
class CopyRow:
    """``backup_copies``: one copy of a backup."""

    backup_id: str
    copy: str
    position: int
    """0 is the first copy a restore reads."""
    url: str
    location: str
    state: str
    digest: str | None
    """Of the manifest there; of the last one that stood there, once it has gone."""
    standing: str
    """``proven``, ``failed``, ``unproven`` or ``void``, by the records of all copies;
    ``unknown`` when it could not be told."""
    proof_id: str | None
    """The proof that says so."""
    problem: str | None


@dataclass(frozen=True, slots=True)
class ProofRow:
    """``backup_proofs``: one proof."""

    id: str
    backup_id: str
    copy: str
    url: str
    digest: str | None
    verdict: str
    void: bool
    """Green by a verifier that was blind to damage then."""
    to_the_end: bool
    """Whether all WAL of the copy was replayed."""
    started: datetime
    finished: datetime
    rto_seconds: float
    reached_timeline: int | None
    reached_lsn: Lsn | None
    expected_lsn: Lsn | None
    newest_commit: datetime | None
    asked: str | None
    reason: str
    host: str


@dataclass(frozen=True, slots=True)
class HoldRow:
    """``backup_holds``: one hold or release."""

    id: str
    backup_id: str
    action: str
    at: datetime
    reason: str
    host: str
    releases: tuple[str, ...]
    in_force: bool


@dataclass(frozen=True, slots=True)
class PurgeRow:
    """``backup_purges``: one step on the way out of one copy, or back."""

    id: str
    backup_id: str
    copy: str
    step: str
    at: datetime
    reason: str
    host: str
    digest: str


@dataclass(frozen=True, slots=True)
class FailureRow:
    """``backup_failures``: one attempt that did not come to its end."""

    backup_id: str
    attempt: str
    failed_at: datetime
    error: str
    exit_code: int
    message: str
    hint: str
    host: str


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """``backup_problems``: a record of a backup that could not be read."""

    backup_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class BackupRows:
    """All rows of one backup."""

    log: LogRow
    manifests: tuple[ManifestRow, ...] = ()
    """One, or none when no manifest of it can be read."""
    copies: tuple[CopyRow, ...] = ()
    proofs: tuple[ProofRow, ...] = ()
    holds: tuple[HoldRow, ...] = ()
    purges: tuple[PurgeRow, ...] = ()
    failures: tuple[FailureRow, ...] = ()
    problems: tuple[ProblemRow, ...] = ()
    token: str = field(default="", compare=False)
    """What the copies listed when this was read: the same token, the same rows. Empty: not all
    was looked at, and the next sync does."""

    @property
    def backup_id(self) -> str:
        """The backup they are of."""
        return self.log.backup_id


@dataclass(frozen=True, slots=True)
class SyncedCopy:
    """How one copy answered the last sync."""

    copy: str
    url: str
    problem: str
    """Empty when it was read from end to end."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """When the catalog was last brought in line with the buckets, and how that went."""

    began: datetime
    """What was stored later may be missing."""
    finished: datetime
    backups: int
    copies: tuple[SyncedCopy, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """The copies that did not answer, and why."""
        return tuple(f"{each.copy}: {each.problem}" for each in self.copies if each.problem)
