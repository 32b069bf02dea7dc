"""A running server that databases are restored into, over psycopg."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import psycopg
from psycopg import errors, pq, sql

from kb_dr.adapters.database_facts import database_shapes
from kb_dr.adapters.end_sessions import ended_sessions
from kb_dr.adapters.new_database import create_database, create_extensions
from kb_dr.adapters.postgres_session import (
    Session,
    connect,
    connection_words,
    conninfo,
    session,
    translated,
    what_was_seen,
)
from kb_dr.adapters.restored_checks import RestoredInspection, prepared
from kb_dr.adapters.take_over import take_over
from kb_dr.domain.dump import DatabaseShape
from kb_dr.domain.dump_target import ServerLook
from kb_dr.domain.inspection import Examined
from kb_dr.domain.manifest import Source
from kb_dr.errors import PostgresError, RecoveryError
from kb_dr.settings import SourceSettings

_HOURS = 12 * 3600.0
"""For what reads whole tables."""
_SWAP_SECONDS = 60.0
"""How long sessions may take to end once they were told to."""

_LOOK = """
select current_setting('server_version_num')::int,
       (select system_identifier from pg_catalog.pg_control_system()),
       array(select datname::text from pg_catalog.pg_database order by datname),
       array(select rolname::text from pg_catalog.pg_roles order by rolname),
       pg_catalog.pg_is_in_recovery(),
       (select rolcreatedb or rolsuper from pg_catalog.pg_roles where rolname = current_user)
"""
_EXTENSIONS = """
select name::text, array_agg(version order by version)
from pg_catalog.pg_available_extension_versions group by name
"""


class PostgresDatabases:
    """Implements `kb_dr.ports.DatabaseServer`.

    The database of ``address`` is only one of those that sessions are begun in: what is done to
    a database is done from another one.
    """

    def __init__(self, address: SourceSettings) -> None:
        self._address = address

    def look(self) -> ServerLook:
        with self._beside() as asked:
            row = asked.execute(_LOOK).fetchone()
            if row is None:
                raise PostgresError("ask the server: no answer to a question")
            return ServerLook(
                server_version=row[0],
                system_identifier=row[1],
                databases=tuple(row[2]),
                roles=tuple(row[3]),
                extensions={name: tuple(versions) for name, versions in asked.execute(_EXTENSIONS)},
                in_recovery=row[4],
                may_create=bool(row[5]),
                shapes=database_shapes(asked),
            )

    def create(self, name: str, shape: DatabaseShape | None = None) -> None:
        with self._beside(name, statement_seconds=_HOURS) as asked:
            create_database(asked, name, shape)

    def create_extensions(
        self,
        database: str,
        extensions: dict[str, str],
        schemas: Mapping[str, str] | None = None,
    ) -> tuple[str, ...]:
        with self._in(database, f"create extensions in {database}") as asked:
            return create_extensions(asked, extensions, schemas or {})

    def drop(self, name: str) -> None:
        with self._beside(name, statement_seconds=_HOURS) as asked:
            asked.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )

    def swap(self, *, new: str, name: str, kept: str) -> int:
        """Both names change in one transaction, and no database is closed before it: a kill leaves
        the names as they were, or changed, and both databases open.
        """
        with self._beside(new, name, kept, statement_seconds=_SWAP_SECONDS) as asked:
            oids = _two(asked, new=new, name=name, kept=kept)
            try:
                with (
                    ended_sessions(
                        lambda: self._beside(new, name, kept), oids, asked.info.backend_pid
                    ) as ended,
                    asked.transaction(),
                ):
                    take_over(asked, old=name, new=new)
                    _rename(asked, name, kept)
                    _rename(asked, new, name)
            except errors.InsufficientPrivilege as error:
                raise PostgresError(
                    f"swap {new} for {name}: {what_was_seen(error)}",
                    hint="Both databases have to belong to the role of the restore (or it is a "
                    "superuser), with CREATEDB, and pg_signal_backend to end sessions of others.",
                ) from error
            except RecoveryError as error:
                if ended.failure is not None:
                    raise RecoveryError(f"{error}; {ended.failure}", hint=error.hint) from error
                raise
        return len(ended.pids)

    def analyze(self, database: str) -> None:
        with self._in(database, f"analyze {database}", statement_seconds=_HOURS) as asked:
            asked.execute("analyze")

    @contextmanager
    def inspect(self, database: str, source: Source) -> Iterator["DatabaseInspection"]:
        def opened(named: str) -> Session:
            with translated(f"connect to database {named}", self._address):
                return prepared(
                    connect(replace(self._address, database=named), statement_seconds=_HOURS)
                )

        looking = opened(database)
        try:
            yield DatabaseInspection(opened, looking)
        finally:
            looking.close()

    @contextmanager
    def _in(
        self, database: str, what: str, *, statement_seconds: float = 600.0
    ) -> Iterator[Session]:
        with session(
            replace(self._address, database=database),
            what=what,
            statement_seconds=statement_seconds,
        ) as asked:
            yield asked

    @contextmanager
    def _beside(self, *not_in: str, statement_seconds: float = 600.0) -> Iterator[Session]:
        """A session in none of these databases: in the first of the others that lets us in."""
        usual = ("postgres", self._address.database, "template1")
        places = [each for each in dict.fromkeys(usual) if each not in not_in]
        with translated("ask the server", self._address):
            asked = self._connect_to_one(places, statement_seconds)
            try:
                yield asked
            finally:
                asked.close()

    def _connect_to_one(self, places: Sequence[str], statement_seconds: float) -> Session:
        *others, last = places
        for each in others:
            try:
                return connect(
                    replace(self._address, database=each), statement_seconds=statement_seconds
                )
            except psycopg.OperationalError:
                # It is the database only when the server itself answers.
                if not self._answers():
                    raise
        return connect(replace(self._address, database=last), statement_seconds=statement_seconds)

    def _answers(self) -> bool:
        words = connection_words(self._address) | {"sslmode": "prefer"}
        return pq.PGconn.ping(conninfo(words).encode()) == pq.Ping.OK


class DatabaseInspection(RestoredInspection):
    """A look into one database of a server that is not ours to change.

    What creates extensions in every database of a scratch cluster is not done here.
    """

    def examine_tables(self) -> Examined:
        raise _not_here()

    def examine_indexes(self) -> Examined:
        raise _not_here()

    def examine_visibility(self) -> Examined:
        raise _not_here()


def _not_here() -> PostgresError:
    return PostgresError("examine the structure of a server: it is no scratch cluster")


def _two(asked: Session, *, new: str, name: str, kept: str) -> list[int]:
    """The databases that are going to change names; RecoveryError unless they can."""
    rows = asked.execute(
        "select datname::text, oid::int8, datistemplate from pg_catalog.pg_database"
        " where datname = any(%s)",
        [[new, name, kept]],
    ).fetchall()
    found = {row[0]: row[1] for row in rows}
    for each in (new, name):
        if each not in found:
            raise RecoveryError(f"swap {new} for {name}: there is no database {each}")
    if kept in found:
        raise RecoveryError(f"swap {new} for {name}: there is a database {kept} already")
    if len({new, name, kept}) != 3 or any(row[2] for row in rows):
        raise RecoveryError(f"swap {new} for {name}: expected two databases, and no template")
    return [found[new], found[name]]


def _rename(asked: Session, old: str, new: str) -> None:
    try:
        asked.execute(
            sql.SQL("alter database {} rename to {}").format(
                sql.Identifier(old), sql.Identifier(new)
            )
        )
    except (errors.DuplicateDatabase, errors.ObjectInUse) as error:
        raise RecoveryError(
            f"rename database {old}: {what_was_seen(error)}",
            hint="Nothing was changed. Stop what is connected there, then run it again.",
        ) from error
