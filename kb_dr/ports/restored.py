"""This machine as a place to restore to, and the servers that run on what was restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kb_dr.domain.control import Harm
    from kb_dr.domain.fingerprint import Look, TableFingerprint
    from kb_dr.domain.heartbeat import Beat
    from kb_dr.domain.inspection import Examined, Relation
    from kb_dr.domain.manifest import Source, VectorBaseline
    from kb_dr.domain.recovery import ControlFile, Replay, ServerConfiguration, WorkArea
    from kb_dr.ports.basics import Writable


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

    def own_tables(self) -> tuple[str, ...]:
        """Those of tables() that no extension brought."""
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

    def relations(self) -> frozenset[Relation]:
        """All that stands of RELATION_KINDS in the database under protection."""
        ...

    def large_objects(self) -> int:
        """How many large objects there are in the database under protection."""
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

    def check(self, source: Source, *, combines: bool = False) -> None:
        """Raise PostgresProgramMissing unless the programs of the source's major version, with
        ``combines`` also the one for combine(), and the files of all its extensions are at hand.
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

    def combine(self, links: Sequence[Path], directory: Path, source: Source) -> None:
        """Make ``directory`` from the files of a chain, the full first. They are gone then.

        Raises BrokenChain when they are not one chain, NotEnoughSpace, PostgresCommandFailed.
        """
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

    def new_cluster(
        self, area: WorkArea, source: Source, *, superuser: str
    ) -> AbstractContextManager[RestoredServer]:
        """Make an empty cluster of the source's major version in ``area.data``, with checksums,
        and start it as start() does; it is open for writing when the block is entered.

        ``superuser`` is its only role; sorting in its own databases is by the C locale. Raises
        RecoveryAborted, NotEnoughSpace and PostgresCommandFailed.
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
