"""Look into a restored server with psycopg: rows, versions, indexes, vectors, structure."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors

from kb_dr.adapters import inspected_databases
from kb_dr.adapters.heartbeat_table import read_beat
from kb_dr.adapters.index_recall import VectorIndex, measure_recall, vector_indexes
from kb_dr.adapters.postgres_session import Session, translated, what_was_seen
from kb_dr.adapters.source_description import RECALL_SEED, invalid_indexes, schema_version
from kb_dr.adapters.standing_relations import large_objects, standing_relations
from kb_dr.adapters.table_sample import extension_tables, list_tables, look_up_rows
from kb_dr.domain.fingerprint import Look, TableFingerprint
from kb_dr.domain.heartbeat import Beat
from kb_dr.domain.inspection import Examined, Relation
from kb_dr.domain.manifest import Source, VectorBaseline
from kb_dr.errors import PostgresError, VerificationError
from kb_dr.ports import Inspection, RestoredServer

_STATEMENT_SECONDS = 12 * 3600
"""Whole tables are read."""

_LIBRARY_SIGNS = ("$libdir", "could not access file", "could not load library")

_OPTIONS = {
    # What roles and databases of the source have set must not get in the way of looking.
    "default_transaction_read_only": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    # A migration that was under way holds its tables for as long as replay is paused.
    "lock_timeout": "60s",
    "statement_timeout": str(_STATEMENT_SECONDS * 1000),
    # A page that was changed must be an error, not a row less.
    "ignore_checksum_failure": "off",
    "zero_damaged_pages": "off",
}


class RestoredChecks:
    """Implements `kb_dr.ports.ServerInspector`."""

    @contextmanager
    def look_into(self, server: RestoredServer, source: Source) -> Iterator[Inspection]:
        def connect(database: str) -> Session:
            return prepared(
                psycopg.connect(
                    server.conninfo(database),
                    autocommit=True,
                    connect_timeout=30,
                    application_name="kb-dr",
                )
            )

        with asked("connect"):
            session = connect(source.database)
        try:
            yield RestoredInspection(connect, session)
        finally:
            session.close()


@dataclass(frozen=True, slots=True)
class RestoredInspection:
    """Implements `kb_dr.ports.Inspection` with one session, and short ones per database."""

    connect: inspected_databases.Connect
    session: Session

    def look_up(self, recorded: TableFingerprint, seed: str) -> Look | None:
        with asked(f"look up the rows of {recorded.table}"):
            try:
                return look_up_rows(self.session, recorded, seed)
            except errors.UndefinedColumn as error:
                raise VerificationError(f"{recorded.table}: {what_was_seen(error)}") from error

    def tables(self) -> tuple[str, ...]:
        with asked("list tables"):
            return list_tables(self.session)

    def own_tables(self) -> tuple[str, ...]:
        with asked("list tables of extensions"):
            brought = extension_tables(self.session)
        return tuple(each for each in self.tables() if each not in brought)

    def schema_version(self) -> str | None:
        with asked("read the schema version"):
            return schema_version(self.session)

    def extensions(self) -> dict[str, str]:
        with asked("list extensions"):
            return dict(_pairs(self.session, "select extname, extversion from pg_extension"))

    def extensions_of_host(self) -> dict[str, str]:
        with asked("list installed extensions"):
            return dict(
                _pairs(self.session, "select name, default_version from pg_available_extensions")
            )

    def invalid_indexes(self) -> tuple[str, ...]:
        with asked("look for invalid indexes"):
            return invalid_indexes(self.session)

    def relations(self) -> frozenset[Relation]:
        with asked("list what stands"):
            return standing_relations(self.session)

    def large_objects(self) -> int:
        with asked("count large objects"):
            return large_objects(self.session)

    def vector_dimensions(self, baseline: VectorBaseline) -> int | None:
        with asked(f"look for index {baseline.index}"):
            found = self._vector_index(baseline)
            return found.dimensions if found else None

    def measure_recall(self, baseline: VectorBaseline) -> VectorBaseline | None:
        with asked(f"measure recall of {baseline.index}"):
            found = self._vector_index(baseline)
            return measure_recall(self.session, found, seed=RECALL_SEED) if found else None

    def examine_tables(self) -> Examined:
        with asked("check tables"):
            return inspected_databases.examine_tables(self.connect)

    def examine_indexes(self) -> Examined:
        with asked("check B-trees"):
            return inspected_databases.examine_indexes(self.connect)

    def examine_visibility(self) -> Examined:
        with asked("check visibility maps"):
            return inspected_databases.examine_visibility(self.connect)

    def beat(self) -> Beat | None:
        with asked("read the heartbeat"):
            return read_beat(self.session)

    def _vector_index(self, baseline: VectorBaseline) -> VectorIndex | None:
        return next(
            (
                each
                for each in vector_indexes(self.session)
                if (f"{each.schema}.{each.table}", each.column, each.index)
                == (baseline.table, baseline.column, baseline.index)
            ),
            None,
        )


def prepared(session: Session) -> Session:
    """The session, fit for looking; closed when it cannot be made so."""
    try:
        for name, value in _OPTIONS.items():
            session.execute(
                "select set_config(name, %s, false) from pg_settings where name = %s", [value, name]
            )
    except BaseException:
        session.close()
        raise
    return session


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Damage becomes VerificationError, all else what could not be asked."""
    try:
        with translated(f"{what} in the restored server"):
            yield
    except PostgresError as error:
        if isinstance(error.__cause__, psycopg.Error) and _shows_damage(error.__cause__):
            raise VerificationError(f"{what}: {what_was_seen(error.__cause__)}") from error
        raise


def _shows_damage(error: psycopg.Error) -> bool:
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
        return True
    if isinstance(error, errors.UndefinedFile):
        # A relation's file is not there; or a library of this host, which is another matter.
        return not any(sign in str(error) for sign in _LIBRARY_SIGNS)
    return False


def _pairs(session: Session, statement: str) -> list[tuple[str, str]]:
    return [(name, version) for name, version in session.execute(statement.encode())]
