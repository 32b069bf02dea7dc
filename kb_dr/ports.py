"""The whole outside world on one screen.

Each protocol is implemented in kb_dr/adapters (and by a fake in kb_dr_tests/fakes.py); the
contracts in kb_dr_tests/contracts hold every implementation to the words written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # Loading the values these words are about would take longer than all else that one
    # `kb-dr wal push` does before its first byte.
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from kb_dr.domain.base_backup import ArchiverStatus, BaseBackupEnd, SourceConfiguration
    from kb_dr.domain.control import Harm
    from kb_dr.domain.fingerprint import Fingerprint, Look, TableFingerprint
    from kb_dr.domain.heartbeat import Beat
    from kb_dr.domain.inspection import Examined
    from kb_dr.domain.lsn import Lsn
    from kb_dr.domain.manifest import Source, VectorBaseline
    from kb_dr.domain.recovery import ControlFile, Replay, ServerConfiguration, WorkArea
    from kb_dr.domain.replacement import (
        Places,
        Replacement,
        ServerState,
        ServiceLook,
        StandingCluster,
    )
    from kb_dr.domain.service_commands import Command, ServiceCommands
    from kb_dr.domain.source_facts import SourceFacts
    from kb_dr.domain.stored import Listed, StoredObject
    from kb_dr.domain.tablespaces import Tablespace


class Clock(Protocol):
    """Time, so that tests can choose it."""

    def now(self) -> datetime:
        """The present, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Readable(Protocol):
    """A byte stream that is read once."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; empty only at the end."""
        ...


class Writable(Protocol):
    """A byte stream that is written once."""

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``; return its length."""
        ...

    def flush(self) -> None:
        """Nothing is promised; some libraries call it."""
        ...


class Repository(Protocol):
    """A place backups live: a bucket and prefix, or a directory.

    Keys are relative to that place. Every write is atomic and nothing is ever overwritten.
    Each call has a deadline, and retries by itself what a retry can help; what is left over is
    raised as RepositoryUnavailable, RepositoryRefused, BucketMissing or RepositoryError.
    """

    @property
    def name(self) -> str:
        """What people call this copy: ``primary`` or ``offsite``."""
        ...

    @property
    def url(self) -> str:
        """Where it is, for people; never with a secret."""
        ...

    def check(self) -> None:
        """Raise what is wrong with this place (unreachable, refused, missing); else return."""
        ...

    def put(self, key: str, body: bytes) -> StoredObject:
        """Store ``body`` and look at what was stored before returning.

        The same bytes again are a success (a lost answer is retried); other bytes under the same
        key raise ObjectConflict and change nothing. A stored size or digest that differs from
        what was sent raises ChecksumMismatch. Two writers that race on a store without
        conditional writes are told apart by what is read back.
        """
        ...

    def get(self, stored: StoredObject) -> bytes:
        """The bytes recorded; ChecksumMismatch when size or SHA-256 differ, ObjectMissing."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes under a key whose digest nobody recorded; ObjectMissing only when the store
        answered, the bucket is there and the key is not.
        """
        ...

    def find(self, key: str) -> Listed | None:
        """What stands under exactly this key; None only when certainly absent, as in read()."""
        ...

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        """Every object whose key starts with ``prefix``, in order of key, in bounded memory.

        A prefix is text, not a folder. A listing that breaks off raises; it never just ends.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove one object; already absent is a success."""
        ...


class Codec(Protocol):
    """Compression and encryption, in formats that restore without us: ``age -d | zstd -d``."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """The public keys anything encoded is encrypted to."""
        ...

    def encode(self, plain: bytes) -> bytes:
        """Compress and encrypt a small thing. The result differs at each call."""
        ...

    def decode(self, coded: bytes) -> bytes:
        """Undo encode(); KeyMissing when no identity fits, ChecksumMismatch when damaged."""
        ...

    def encode_stream(self, plain: Readable, sink: Writable) -> int:
        """Compress and encrypt until ``plain`` ends, in bounded memory; return its length."""
        ...

    def decode_stream(self, coded: Readable, sink: Writable) -> int:
        """Undo encode_stream(); return the plain length. Raises as decode() does.

        A stream cut short raises ChecksumMismatch: it is never taken for a short one.
        """
        ...


class Progress(Protocol):
    """Told how far long work has come; says so to people about every 10 seconds."""

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        """A phase starts; ``total_bytes`` None when it cannot be known."""
        ...

    def advance(self, count: int) -> None:
        """``count`` more bytes are done. Called often, from any thread; cheap."""
        ...

    def end(self) -> None:
        """The phase is over."""
        ...


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
        self, restore_point: str, tables: Sequence[str]
    ) -> tuple[Fingerprint, tuple[str, ...]]:
        """Count and sample around a new restore point; with notes for the operator.

        ``tables`` empty: every permanent table. A table that is not there is a
        ConfigurationError. What was not the same just before and just after is left out.
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
        self, label: str, tablespaces: Sequence[Tablespace] = ()
    ) -> AbstractContextManager[BaseBackupStream]:
        """Run one base backup; the program is gone when the block is left, however it is left.

        ``tablespaces`` are those the cluster has. In the tar they lie below the data directory
        (kb_dr.domain.tablespaces), and nothing in it leads to where they lie at the source.
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


class RestoredServer(Protocol):
    """A PostgreSQL server that runs on restored files, reachable by its socket alone."""

    def conninfo(self, database: str = "postgres") -> str:
        """How to connect as a superuser, as libpq spells it; nothing in it is secret."""
        ...

    def wait_for_pause(self, seconds: float) -> Replay:
        """Wait until replay is paused at its recovery target; return where.

        Raises TargetNotReached when recovery ends before its target, RecoveryAborted when the
        server ends, RecoveryError when it is not there in time.
        """
        ...

    def wait_for_promotion(self, seconds: float) -> Replay:
        """Wait until recovery has ended and the server is open for writing; return how far it came.

        Raises RecoveryAborted when the server ends, RecoveryError when it is not open in time.
        """
        ...

    def replay(self) -> Replay:
        """How far it has replayed. After promotion the answer comes from the history file that
        the promotion wrote, so that it names timeline and LSN together.
        """
        ...

    def log_tail(self) -> str:
        """The last lines the server logged."""
        ...

    def stop(self) -> None:
        """Shut it down cleanly and wait; stopped already is a success."""
        ...


class Inspection(Protocol):
    """A look into one running restored server.

    A question whose answer shows damage raises VerificationError; PostgresError when it could
    not be answered.
    """

    def look_up(self, recorded: TableFingerprint, seed: str) -> Look | None:
        """The rows of a recorded sample as they are now; None when the table is not there."""
        ...

    def tables(self) -> tuple[str, ...]:
        """Every permanent table of the database under protection."""
        ...

    def schema_version(self) -> str | None:
        """As Source.schema_version."""
        ...

    def extensions(self) -> dict[str, str]:
        """Name to version, of the database under protection."""
        ...

    def extensions_of_host(self) -> dict[str, str]:
        """Name to version of what this host has installed."""
        ...

    def invalid_indexes(self) -> tuple[str, ...]:
        """As Source.invalid_indexes."""
        ...

    def vector_dimensions(self, baseline: VectorBaseline) -> int | None:
        """Of one recorded vector index as it is now; None when it is not there, or not valid."""
        ...

    def measure_recall(self, baseline: VectorBaseline) -> VectorBaseline | None:
        """Measured as at the source; None when the index is not there, or not valid."""
        ...

    def beat(self) -> Beat | None:
        """The heartbeat's row; None when the source had none, or it never beat."""
        ...

    def examine_tables(self) -> Examined:
        """Every page and row of every table, by amcheck. The server must be open for writing."""
        ...

    def examine_indexes(self) -> Examined:
        """Every B-tree against its table, by amcheck. The server must be open for writing."""
        ...

    def examine_visibility(self) -> Examined:
        """Every visibility map, by pg_visibility. The server must be open for writing."""
        ...


class ServerInspector(Protocol):
    """Opens restored servers to be looked at."""

    def look_into(
        self, server: RestoredServer, source: Source
    ) -> AbstractContextManager[Inspection]:
        """A look into the database that was under protection."""
        ...


class RestoreDamager(Protocol):
    """Damages restored scratch servers on purpose, for negative controls.

    Refuses (PostgresError) a server that is not one of ours. Raises NotProven when there is
    nothing here that the damage could be done to.
    """

    def drop_rows(self, server: RestoredServer, source: Source, tables: Sequence[str]) -> Harm:
        """Take rows out of the first of ``tables`` that can be had, behind the server's back.

        Works while replay is paused. Returns only when the server itself counts fewer rows.
        """
        ...

    def make_index_stale(self, server: RestoredServer, source: Source) -> Harm:
        """Move rows of a table without telling one of its B-trees. The server must be open."""
        ...

    def make_vector_index_stale(self, server: RestoredServer, source: Source) -> Harm:
        """Move every fifth row of a table without telling a vector index that was measured at
        the source. The server must be open.
        """
        ...


class PostgresHost(Protocol):
    """This machine, as a place to restore to: PostgreSQL's programs, its space, its servers."""

    def check(self, source: Source) -> None:
        """Raise PostgresProgramMissing unless the programs of the source's major version and the
        files of all its extensions are at hand.
        """
        ...

    def tools(self, source: Source) -> dict[str, str]:
        """The programs a restore uses, and their versions."""
        ...

    def free_bytes(self, directory: Path) -> int:
        """Room in the file system that holds ``directory``, or its nearest parent there is."""
        ...

    def unpack(self, directory: Path) -> AbstractContextManager[Writable]:
        """Make ``directory`` and unpack the tar that is written into the stream.

        The stream is complete and the program's status checked when the block is left; a tar
        that is no tar, or cut short, raises ChecksumMismatch; a full disk NotEnoughSpace.
        """
        ...

    def verify_files(self, directory: Path, source: Source) -> None:
        """Hold every file against PostgreSQL's own backup manifest; raise ChecksumMismatch."""
        ...

    def verify_checksums(self, directory: Path, source: Source) -> None:
        """Read every page of a cluster that is shut down; raise ChecksumMismatch.

        PostgresProgramMissing when there is nothing here to do it with.
        """
        ...

    def control(self, directory: Path, source: Source) -> ControlFile:
        """What pg_control says; RecoveryError when it cannot be read."""
        ...

    def start(
        self, area: WorkArea, configuration: ServerConfiguration, source: Source
    ) -> AbstractContextManager[RestoredServer]:
        """Start a server on ``area.data``; it is gone when the block is left, however it is left.

        Returns without waiting for connections. It listens on ``area.sockets`` alone, reads no
        configuration of the source, and ends when we are killed.
        """
        ...

    def settle(self, area: WorkArea, lines: Sequence[str]) -> None:
        """Make the recovered, stopped data directory fit to be kept: the source's own
        configuration stands again, and ``lines`` are added to ``postgresql.auto.conf``.
        """
        ...


class ScratchSpace(Protocol):
    """Where restores work: private directories that never outlive the work."""

    def area(self, purpose: str) -> AbstractContextManager[WorkArea]:
        """A work area below the scratch directory, removed when the block is left."""
        ...

    def beside(self, target: Path) -> AbstractContextManager[WorkArea]:
        """A work area on the file system of ``target``, beside it, removed likewise.

        Removes first what killed restores into the same target left there.
        """
        ...

    def put_in_place(self, area: WorkArea, target: Path, *, known_as: Path | None = None) -> None:
        """Give the data directory of ``area`` its final name, durably, as the last step.

        The links to its tablespaces are made absolute before: PostgreSQL's own base backups
        take relative ones for empty tablespaces. RecoveryError for one that leads elsewhere.
        ``known_as`` is the name it is going to have when that is not ``target`` itself.
        Raises DataDirectoryNotEmpty when something has appeared there.
        """
        ...

    def reap(self) -> tuple[str, ...]:
        """Remove what killed restores left, and end their servers; never those of a live one.

        Returns what was removed, for people.
        """
        ...


class ServiceControl(Protocol):
    """The service around a cluster, driven by the operator's own commands."""

    @property
    def commands(self) -> ServiceCommands:
        """What is configured."""
        ...

    def run(self, command: Command) -> bool:
        """Run one to its end; False when none is configured.

        Raises ServiceCommandFailed with its last words when it ends badly or not in time. It gets
        no secret of ours, and is ended with all it started when we are interrupted.
        """
        ...

    def check_health(self, *, patient: bool) -> bool:
        """Hold command and address of the health check; False when there is neither.

        Raises ServiceUnhealthy when the service is not well; when ``patient``, only once it was
        not for as long as a command may take.
        """
        ...

    def uninterrupted(self) -> AbstractContextManager[None]:
        """Inside, the first signal to stop raises KeyboardInterrupt, and no later one does
        anything: what is being undone then is undone to its end.
        """
        ...

    def defer_interrupts(self) -> None:
        """From here to the end of uninterrupted() not even a first signal does anything."""
        ...


class ServiceDatabase(Protocol):
    """The server of the service as its clients reach it. Raises as SourceServer does."""

    def look(self) -> ServiceLook:
        """What it is, asked in a moment."""
        ...

    def end_sessions(self) -> int:
        """End every other session in the database of the service; how many there were."""
        ...


class ReplaceJournal(Protocol):
    """What one replacement has come to, kept beside the target while it runs."""

    def write(self, replacement: Replacement) -> None:
        """Note, durably, what is about to be done."""
        ...

    def close(self, *, done: bool) -> None:
        """Let go of it; ``done`` removes it: nothing is left to undo."""
        ...


class StandingClusters(Protocol):
    """Data directories under their final names on this machine. RecoveryError where one cannot
    be read or changed.
    """

    def look_at(self, directory: Path) -> StandingCluster:
        """What stands there."""
        ...

    def server_of(self, directory: Path) -> ServerState:
        """Whether a server runs on it, in whatever container of this machine."""
        ...

    def check_replaceable(self, directory: Path) -> None:
        """Raise RecoveryError unless it can be renamed, and what comes can be given its owner."""
        ...

    def inherit(self, old: Path, new: Path, lines: Sequence[str]) -> None:
        """Give ``new`` the owner, the mode and the configuration files of ``old``.

        ``lines`` end its ``postgresql.auto.conf``, in which nothing else says archive_mode.
        """
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Rename durably; RecoveryError when anything stands under the new name."""
        ...

    def stands(self, directory: Path) -> bool:
        """Whether anything stands under this name."""
        ...

    def open_journal(self, places: Places) -> ReplaceJournal:
        """Begin a journal; RecoveryError when another replacement of this target is at work,
        or was cut off.
        """
        ...

    def resume_journal(self, target: Path) -> tuple[ReplaceJournal, Replacement] | None:
        """The journal a killed replacement of ``target`` left, to be undone; None without one.

        RecoveryError while its replacement is at work.
        """
        ...

    def unfinished(self, target: Path) -> Replacement | None:
        """What resume_journal() would find; looks only, and sees that of a live one as well."""
        ...
