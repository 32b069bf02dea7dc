"""The PostgreSQL under protection, and the programs that read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kb_dr.ports.basics import Readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from kb_dr.domain.base_backup import ArchiverStatus, BaseBackupEnd, SourceConfiguration
    from kb_dr.domain.fingerprint import Fingerprint
    from kb_dr.domain.lsn import Lsn
    from kb_dr.domain.manifest import Source
    from kb_dr.domain.source_facts import SourceFacts
    from kb_dr.domain.tablespaces import Tablespace


class SourceLock(Protocol):
    """The right to back up one cluster, held by a session of its own."""

    def check(self) -> None:
        """Return while it is held; SourceLockLost once the session that held it is gone."""
        ...


class SourceServer(Protocol):
    """The running PostgreSQL under protection.

    Raises PostgresUnavailable when it does not answer, PostgresError for what it refuses.
    """

    def exclusive(self) -> AbstractContextManager[SourceLock]:
        """Hold the lock against other backups of this server; BackupInProgress when taken.

        It ends with the process that holds it, however that ends.
        """
        ...

    def describe(self) -> Source:
        """The cluster as it is now; refuses one that cannot be backed up (a standby).

        Measures vector indexes, so it may take seconds.
        """
        ...

    def fingerprint(
        self,
        restore_point: str,
        tables: Sequence[str],
        written: Callable[[Lsn], object] = lambda lsn: None,
    ) -> tuple[Fingerprint, tuple[str, ...]]:
        """Count and sample around a new restore point; with notes for the operator.

        ``tables`` empty: every permanent table. A table that is not there is a
        ConfigurationError. What was not the same just before and just after is left out.
        ``written`` is told the end of the restore point's record as soon as that stands, before
        any table is read; what it raises ends the fingerprint.
        """
        ...

    def configuration(self) -> SourceConfiguration:
        """The configuration files outside the data directory (Debian); they may hold secrets."""
        ...

    def tablespaces(self) -> tuple[Tablespace, ...]:
        """As Source.tablespaces, asked in a moment."""
        ...

    def switch_wal(self) -> Lsn:
        """End the segment being written, so that it is archived; the end of what it holds."""
        ...

    def archiver(self) -> ArchiverStatus:
        """What the server itself says of its archive_command."""
        ...

    def facts(self) -> SourceFacts:
        """What it is and how far its WAL reaches; asked in a moment, changes nothing."""
        ...


class Heart(Protocol):
    """A session that beats."""

    def beat(self) -> datetime:
        """Write the time of the server into the one row, commit, and return what was written.

        Raises as HeartbeatTable does.
        """
        ...


class HeartbeatTable(Protocol):
    """The table ``kb_dr.heartbeat`` of the source: one row, small for ever.

    Raises PostgresUnavailable when the server does not answer, ConfigurationError when the table
    is not there or the role may not write it, PostgresError for what else the server refuses.
    """

    def install(self) -> bool:
        """Make schema and table; False when they were there already. Changes nothing else."""
        ...

    def remove(self) -> bool:
        """Drop the table, and the schema when it is empty then; False when it was not there."""
        ...

    def writing(self, every_seconds: float) -> AbstractContextManager[Heart]:
        """A session for beats; the row says that one is due every so many seconds."""
        ...


class BaseBackupStream(Readable, Protocol):
    """The tar of a running base backup."""

    def finish(self) -> BaseBackupEnd:
        """What was read, once the program ended well.

        Raises PostgresCommandFailed when the program failed, the tar was not read to its end, or
        it carries no sound backup manifest. There is no other way to learn the WAL positions.
        """
        ...


class BaseBackupProgram(Protocol):
    """pg_basebackup."""

    @property
    def tools(self) -> dict[str, str]:
        """Program to version."""
        ...

    def stream(
        self,
        label: str,
        tablespaces: Sequence[Tablespace] = (),
        *,
        parent_manifest_zst: bytes | None = None,
    ) -> AbstractContextManager[BaseBackupStream]:
        """Run one base backup; the program is gone when the block is left, however it is left.

        ``tablespaces`` are those the cluster has. In the tar they lie below the data directory
        (kb_dr.domain.tablespaces), and nothing in it leads to where they lie at the source.

        ``parent_manifest_zst``, PostgreSQL's manifest of an earlier backup, makes it the increment
        to that one; never with tablespaces. WalSummariesMissing, from the first read() on, when
        the server cannot tell what has changed since.
        """
        ...


class RunningWalReceiver(Protocol):
    """A pg_receivewal that was started."""

    def ended(self) -> str | None:
        """None while it runs; then its last words, which are never empty."""
        ...


class WalReceiver(Protocol):
    """pg_receivewal, and the physical replication slot it reads through."""

    def create_slot(self, slot: str) -> None:
        """Make the slot, so that the server keeps WAL from now on; there already is a success."""
        ...

    def drop_slot(self, slot: str) -> None:
        """Remove the slot; PostgresError while something reads through it."""
        ...

    def receiving(self, directory: Path, slot: str) -> AbstractContextManager[RunningWalReceiver]:
        """Receive into ``directory``, which is this receiver's alone.

        It goes on behind the newest segment there; into an empty directory from where the slot
        stands (from the server's present position before PostgreSQL 15). Complete segments bear
        their name, the one being written ends in ``.partial``. The program is gone when the block
        is left, however it is left; it never starts itself anew.
        """
        ...
