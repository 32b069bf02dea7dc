"""What is learned while a base backup is taken."""

from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.manifest import WalPosition


@dataclass(frozen=True, slots=True)
class BaseBackupEnd:
    """A base backup whose program ended well."""

    wal: WalPosition
    plain_bytes: int
    """Length of the tar."""
    plain_sha256: str
    """Lower-case hex digest of the tar."""
    postgres_manifest_zst: bytes
    """PostgreSQL's backup manifest, compressed with zstd."""


@dataclass(frozen=True, slots=True)
class SourceConfiguration:
    """Configuration files that a copy of the data directory does not hold."""

    files: dict[str, bytes]
    """Absolute path to content."""
    unread: tuple[str, ...]
    """Files that are there and could not be read."""


@dataclass(frozen=True, slots=True)
class ArchiverStatus:
    """pg_stat_archiver, and the settings it depends on."""

    mode: str
    """``archive_mode``: off, on or always."""
    command: str
    """What archives: ``archive_command`` or ``archive_library``; for messages, may be cut."""
    archived_count: int
    failed_count: int
    last_archived_wal: str | None
    last_archived_at: datetime | None
    last_failed_wal: str | None
    last_failed_at: datetime | None

    @property
    def failing(self) -> bool:
        """Whether the last thing it did was to fail."""
        if self.last_failed_at is None:
            return False
        return self.last_archived_at is None or self.last_failed_at > self.last_archived_at
