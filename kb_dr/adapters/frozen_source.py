"""The PostgreSQL under protection as dumps see it: one snapshot, exported and held open."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Lock

import psycopg
from psycopg.pq import TransactionStatus

from kb_dr.adapters.database_facts import database_roles, database_shape, snapshot_place
from kb_dr.adapters.held_tables import hold_tables
from kb_dr.adapters.postgres_session import Session, connect, translated, what_was_seen
from kb_dr.adapters.source_description import describe_database, measure_vectors
from kb_dr.adapters.source_lock import DUMP, PostgresSourceLock, source_lock
from kb_dr.adapters.table_sample import critical_tables, extension_tables, fingerprint_table
from kb_dr.domain.dump import DatabaseShape, SnapshotPlace
from kb_dr.domain.fingerprint import Fingerprint, TableFingerprint
from kb_dr.domain.manifest import Source, VectorBaseline
from kb_dr.errors import ConfigurationError, PostgresError, PostgresUnavailable
from kb_dr.settings import SourceSettings

_SCAN_SECONDS = 3600.0

_LOOK_SECONDS = 0.5
"""How long a question that was cancelled may take to end before it is cancelled once more."""

_TURNS = 20

_TIMEOUTS = {
    "idle_in_transaction_session_timeout": 0,
    "idle_session_timeout": 140000,
    "transaction_timeout": 170000,
}
"""Settings that would end a session which waits, each with the version that brought it."""


class PostgresDumpSource:
    """Implements `kb_dr.ports.DumpSource`; ``lock_seconds`` is how long tables are tried for."""

    def __init__(self, source: SourceSettings, *, lock_seconds: float = 60.0) -> None:
        self._source = source
        self._lock_seconds = lock_seconds

    @contextmanager
    def exclusive(self) -> Iterator[PostgresSourceLock]:
        with source_lock(self._source, DUMP) as lock:
            yield lock

    @contextmanager
    def freeze(self, tables: Sequence[str]) -> Iterator["FrozenSession"]:
        with _translated("freeze a snapshot", self._source):
            session = connect(self._source, statement_seconds=_SCAN_SECONDS)
        frozen = FrozenSession(session, self._source)
        try:
            frozen.begin(tables, time.monotonic() + self._lock_seconds)
            yield frozen
        finally:
            frozen.end()


class FrozenSession:
    """Implements `kb_dr.ports.FrozenSource`; asked by one thread at a time, ended by any."""

    def __init__(self, session: Session, source: SourceSettings) -> None:
        self._session = session
        self._source = source
        self._asking = Lock()
        self._ended = False
        self._names: tuple[str, ...] = ()
        self._snapshot = ""
        self._place: SnapshotPlace | None = None

    def begin(self, tables: Sequence[str], deadline: float) -> None:
        """Lock, export, and look which tables are to be fingerprinted."""
        with _translated("freeze a snapshot", self._source):
            for name, since in _TIMEOUTS.items():
                # It holds its snapshot for as long as pg_dump runs, mostly idle.
                if self._session.info.server_version >= since:
                    self._session.execute("select set_config(%s, '0', false)", (name,))
            self._snapshot = hold_tables(self._session, deadline)
            self._place = snapshot_place(self._session)
            names, unknown = critical_tables(self._session, tables)
            self._names = tuple(sorted(set(names).difference(extension_tables(self._session))))
        if unknown:
            raise ConfigurationError(
                f"freeze a snapshot: no permanent table {', '.join(unknown)}",
                hint="Correct KB_DR_CRITICAL_TABLES: schema.table, in the database under "
                "protection; unlogged tables and the heartbeat are not fingerprinted.",
            )

    def end(self) -> None:
        """Let go of everything, in the middle of a question, too."""
        self._ended = True
        idle = self._asking.acquire(blocking=False)
        for _ in range(_TURNS):
            if idle:
                break
            with suppress(psycopg.Error):
                self._session.cancel_safe(timeout=_LOOK_SECONDS)
            idle = self._asking.acquire(timeout=_LOOK_SECONDS)
        self._session.close()

    @property
    def snapshot(self) -> str:
        return self._snapshot

    @property
    def place(self) -> SnapshotPlace:
        if self._place is None:
            raise PostgresError("ask a snapshot for its place: it was not taken")
        return self._place

    def describe(self) -> Source:
        with self._asked("describe the source") as session:
            return describe_database(session, self._source)

    def vectors(self) -> tuple[VectorBaseline, ...]:
        with self._asked("measure vector indexes") as session:
            return measure_vectors(session)

    def shape(self) -> DatabaseShape:
        with self._asked("ask for the database's locale") as session:
            return database_shape(session)

    def roles(self) -> tuple[str, ...]:
        with self._asked("ask for roles") as session:
            return database_roles(session)

    def fingerprint(self, seed: str) -> tuple[Fingerprint, tuple[str, ...]]:
        looks: list[TableFingerprint] = []
        notes: list[str] = []
        for name in self._names:
            look = self._look(name, seed)
            if isinstance(look, str):
                notes.append(f"{name} could not be looked at, and is not recorded: {look}")
                looks.append(TableFingerprint(name, None, (), (), ()))
                continue
            if not look.key_columns:
                notes.append(f"{name} has no primary key: it is counted, not sampled")
            looks.append(replace(look, row_versions=None))
        return Fingerprint(seed, self.place.lsn, tuple(looks)), tuple(notes)

    def _look(self, table: str, seed: str) -> TableFingerprint | str:
        """The table; or why this one cannot be looked at, while others can."""
        what = "fingerprint the source"
        with self._asked(what):
            try:
                return fingerprint_table(self._session, table, seed, lasting=True)
            except psycopg.Error as error:
                alive = self._session.info.transaction_status is TransactionStatus.INTRANS
                if self._ended or not alive:
                    raise
                return what_was_seen(error)

    @contextmanager
    def _asked(self, what: str) -> Iterator[Session]:
        with self._asking, _translated(what, self._source):
            if self._ended:
                raise PostgresUnavailable(f"{what}: its session was ended")
            yield self._session


@contextmanager
def _translated(what: str, source: SourceSettings) -> Iterator[None]:
    """As translated(), with what a dump takes in the hint."""
    try:
        with translated(what, source):
            yield
    except PostgresError as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            error.hint = (
                "Grant the dump's role pg_read_all_data, or before PostgreSQL 14 SELECT on every "
                "table and USAGE on every schema; and BYPASSRLS where policies hide rows."
            )
        raise
