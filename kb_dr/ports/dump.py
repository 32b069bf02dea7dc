"""Logical dumps: the snapshot they see, the programs that write and read them, and the server a
database is restored into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kb_dr.ports.basics import Readable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kb_dr.domain.dump import DatabaseShape, DumpEnd, DumpFormat, SnapshotPlace
    from kb_dr.domain.dump_contents import DumpContents
    from kb_dr.domain.dump_target import ServerLook
    from kb_dr.domain.fingerprint import Fingerprint
    from kb_dr.domain.manifest import Source, VectorBaseline
    from kb_dr.ports.restored import Inspection
    from kb_dr.ports.source import SourceLock


class FrozenSource(Protocol):
    """One exported snapshot, held open by a session of its own."""

    @property
    def snapshot(self) -> str:
        """What pg_dump --snapshot is told."""
        ...

    @property
    def place(self) -> SnapshotPlace:
        """Where in the WAL it was taken."""
        ...

    def describe(self) -> Source:
        """The server, and the database as the snapshot shows it; ``size_bytes`` is the database's
        own, and ``vectors`` is left empty. Asked in a moment.
        """
        ...

    def vectors(self) -> tuple[VectorBaseline, ...]:
        """How well each vector index answers now. May take seconds."""
        ...

    def shape(self) -> DatabaseShape:
        """Encoding and locale of the database."""
        ...

    def roles(self) -> tuple[str, ...]:
        """Every role that owns something in the database, or is granted something."""
        ...

    def fingerprint(self, seed: str) -> tuple[Fingerprint, tuple[str, ...]]:
        """Count and sample the tables it was frozen for, in this very snapshot; with notes.

        Counts are exact. Row versions are not recorded: loading a dump makes new ones. Nor are
        tables that belong to an extension, which brings them by itself. A table that could not be
        looked at is in the notes, and not in the fingerprint.
        """
        ...


class DumpSource(Protocol):
    """The PostgreSQL under protection, as dumps see it. Raises as SourceServer does.

    Needs no more than to read: no REPLICATION, no archiving. It may be a standby.
    """

    def exclusive(self) -> AbstractContextManager[SourceLock]:
        """Hold the lock against other dumps of this database, not against base backups;
        BackupInProgress when taken. It ends with the process that holds it.
        """
        ...

    def freeze(self, tables: Sequence[str]) -> AbstractContextManager[FrozenSource]:
        """Export a snapshot, and keep ``tables`` (empty: every one) from being dropped, truncated
        or rewritten while it is held. Nothing else is blocked: rows are written all the while.

        The session ends when the block is left, with what it was asking just then. A table that is
        not there is a ConfigurationError; PostgresUnavailable, which is worth another try, when
        somebody holds one of them too long, as a schema migration does.
        """
        ...


class DumpStream(Readable, Protocol):
    """What a running pg_dump writes."""

    def finish(self) -> DumpEnd:
        """What was read, once the program ended well.

        Raises PostgresCommandFailed when it failed or was not read to its end.
        """
        ...


class DumpProgram(Protocol):
    """pg_dump and pg_dumpall, of the server's major version or a newer one."""

    @property
    def tools(self) -> dict[str, str]:
        """Program to version."""
        ...

    def stream(self, frozen: FrozenSource, form: DumpFormat) -> AbstractContextManager[DumpStream]:
        """Dump the database in this snapshot, uncompressed unless it was made to compress, as
        CUSTOM or PLAIN.

        The program is gone when the block is left, however it is left.
        """
        ...

    def write_directory(self, frozen: FrozenSource, directory: Path, *, jobs: int) -> None:
        """Dump the database in this snapshot as DIRECTORY into a new ``directory``."""
        ...

    def globals(self) -> bytes | None:
        """Roles with their passwords' hashes, and tablespaces, as statements; None where the role
        may not read them.
        """
        ...


class DumpLoader(Protocol):
    """pg_restore and psql of this machine, against one server.

    Raises PostgresProgramMissing, PostgresUnavailable; LoadFailed with the first error of a
    program that is not on the short list of those that are expected (domain/expected_errors.py).
    """

    @property
    def tools(self) -> dict[str, str]:
        """Program to version."""
        ...

    def contents(self, archive: Path) -> DumpContents:
        """The table of contents of an archive (a file of CUSTOM, a directory of DIRECTORY).

        ChecksumMismatch when it is empty, of another format, damaged there, or ends before its
        table of contents does; ConfigurationError when it cannot be read at all.
        """
        ...

    def read_through(self, archive: Path) -> None:
        """Read all of an archive as it would be loaded, and load nothing: ChecksumMismatch when
        it is cut short anywhere. For one whose digest nobody recorded.
        """
        ...

    def load(
        self,
        archive: Path,
        database: str,
        *,
        jobs: int,
        entries: Collection[int] | None = None,
        owners: bool = True,
        grants: bool = True,
    ) -> tuple[str, ...]:
        """Load an archive, or those entries of it, into an empty database that is there.

        Returns what it passed over: the errors that are expected, for people.
        """
        ...

    def run_sql(self, sql: Readable, database: str, *, of_roles: bool = False) -> None:
        """Run statements with psql: all in one transaction, or none (ON_ERROR_STOP).

        LoadFailed for a command of psql beside them, which could start programs here, and, unless
        they are those that make roles, for a statement that changes more than the database;
        ChecksumMismatch for a dump that ends within something, or without pg_dump's last line.
        What ``sql`` raises passes through, and nothing was done.
        """
        ...


class DatabaseServer(Protocol):
    """A running server that databases are restored into. Raises as SourceServer does."""

    def look(self) -> ServerLook:
        """Its version, databases, roles and installable extensions, asked in a moment."""
        ...

    def create(self, name: str, shape: DatabaseShape | None = None) -> None:
        """Create an empty database (from template0); None: shaped like the server's template.

        RecoveryError when the name is taken, TargetLacks when the server has no such locale.
        """
        ...

    def create_extensions(
        self,
        database: str,
        extensions: dict[str, str],
        schemas: Mapping[str, str] | None = None,
    ) -> tuple[str, ...]:
        """Create these (name to version) before anything is loaded; with notes where another
        version had to do. ``schemas``: the schema each is in, as DumpContents.extension_schemas
        names it; else it chooses its own. TargetLacks for one that cannot be installed.
        """
        ...

    def drop(self, name: str) -> None:
        """Drop a database, ending its sessions; not there is a success."""
        ...

    def swap(self, *, new: str, name: str, kept: str) -> int:
        """Give ``new`` the name ``name``, and what bore it the name ``kept``, both or neither.

        Sessions in both are ended, and none can begin meanwhile; how many were ended. ``new``
        takes over what no dump holds: owner, connection limit, grants on the database and its
        settings. RecoveryError, and nothing is changed, when a name or a session is in the way.
        """
        ...

    def analyze(self, database: str) -> None:
        """Gather the planner's statistics, which a dump does not hold."""
        ...

    def inspect(self, database: str, source: Source) -> AbstractContextManager[Inspection]:
        """A look into one of its databases, as at a restored cluster."""
        ...
