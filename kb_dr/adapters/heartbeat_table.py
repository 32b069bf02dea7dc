"""The heartbeat's table in PostgreSQL: one row that is updated in place, for ever.

A tenth of its page is filled, and the column that moves is not indexed: each update is a HOT one
and reuses the room of the last but one (PostgreSQL docs, "Heap-Only Tuples"), so the table stays
at one page, whatever autovacuum does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from socket import gethostname

from psycopg import errors

from kb_dr.adapters.postgres_session import Session, session, what_was_seen
from kb_dr.domain.heartbeat import Beat
from kb_dr.errors import ConfigurationError, PostgresError
from kb_dr.settings import SourceSettings

_BEAT_SECONDS = 30.0
"""A beat that waits longer has missed its time anyway."""

_IS_THERE = "select to_regclass('kb_dr.heartbeat') is not null"

_MAKE = """
create table if not exists kb_dr.heartbeat (
    id smallint primary key default 1 check (id = 1),
    beat timestamptz not null default clock_timestamp(),
    every_seconds double precision not null check (every_seconds > 0),
    host text
) with (fillfactor = 10)
"""

_READ = "select beat, every_seconds, host from kb_dr.heartbeat where id = 1"

_BEAT = """
insert into kb_dr.heartbeat as mine (every_seconds, host) values (%s, %s)
on conflict (id) do update
set beat = clock_timestamp(), every_seconds = excluded.every_seconds, host = excluded.host
returning mine.beat
"""

_NOT_OURS = (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedColumn)


class PostgresHeartbeat:
    """Implements `kb_dr.ports.HeartbeatTable`."""

    def __init__(self, source: SourceSettings) -> None:
        self._source = source

    def install(self) -> bool:
        with session(self._source, what="install the heartbeat") as s, _ours(), s.transaction():
            was_there = _is_there(s)
            if not was_there:
                s.execute("create schema if not exists kb_dr")
                s.execute(_MAKE)
            s.execute(_READ)  # a table of another shape under this name is nobody's heartbeat
        return not was_there

    def remove(self) -> bool:
        with session(self._source, what="remove the heartbeat") as s, _ours(), s.transaction():
            was_there = _is_there(s)
            if was_there:
                s.execute(_READ)
                s.execute("drop table kb_dr.heartbeat")
                try:
                    with s.transaction():
                        s.execute("drop schema kb_dr")
                except (errors.DependentObjectsStillExist, errors.InsufficientPrivilege):
                    pass  # somebody else keeps something there, or made it
        return was_there

    @contextmanager
    def writing(self, every_seconds: float) -> Iterator["PostgresHeart"]:
        with session(self._source, statement_seconds=_BEAT_SECONDS, what="beat in") as s, _ours():
            # A standby that is down must not hold up the clock of all measurements.
            s.execute("set synchronous_commit = local")
            yield PostgresHeart(s, every_seconds)


class PostgresHeart:
    """Implements `kb_dr.ports.Heart`."""

    def __init__(self, connection: Session, every_seconds: float) -> None:
        self._connection = connection
        self._words = (every_seconds, gethostname())

    def beat(self) -> datetime:
        row = self._connection.execute(_BEAT, self._words).fetchone()
        if row is None:
            raise PostgresError("beat: the server wrote no row")
        written: datetime = row[0]
        return written


def read_beat(connection: Session) -> Beat | None:
    """The row; None when there is no such table, or nothing in it. Raises psycopg's errors."""
    if not _is_there(connection):
        return None
    try:
        row = connection.execute(_READ).fetchone()
    except _NOT_OURS:
        return None
    return Beat(at=row[0], every_seconds=row[1], host=row[2]) if row else None


def _is_there(connection: Session) -> bool:
    row = connection.execute(_IS_THERE).fetchone()
    return row is not None and bool(row[0])


@contextmanager
def _ours() -> Iterator[None]:
    """What only an operator can mend is told apart from what passes by itself."""
    try:
        yield
    except _NOT_OURS as error:
        raise ConfigurationError(
            f"beat: {what_was_seen(error)}",
            hint="`kb-dr heartbeat install` makes the table, in the database of KB_DB_NAME.",
        ) from error
    except errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"beat: {what_was_seen(error)}",
            hint="To install, the role needs CREATE on the database; to beat, usage on schema "
            "kb_dr and select, insert, update on kb_dr.heartbeat.",
        ) from error
