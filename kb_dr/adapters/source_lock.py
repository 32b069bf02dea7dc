"""The right to back up one server, or to dump one database: an advisory lock."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from kb_dr.adapters.postgres_session import Session, connect, translated
from kb_dr.errors import BackupInProgress, PostgresError, SourceLockLost
from kb_dr.settings import SourceSettings

# Two halves of one advisory lock: "kbdr" and "full" in ASCII. Fixed for ever, so that every
# version of kb_dr respects the others.
BASE_BACKUP = (0x6B626472, 0x66756C6C)

# "kbdr" and "dump".
DUMP = (0x6B626472, 0x64756D70)


@contextmanager
def source_lock(source: SourceSettings, key: tuple[int, int]) -> "Iterator[PostgresSourceLock]":
    """Hold one of these locks in a session of its own; BackupInProgress when it is taken."""
    with translated("lock the source", source):
        connection = connect(source)
    try:
        lock = PostgresSourceLock(connection, source, key)
        lock.take()
        try:
            yield lock
        finally:
            lock.give_up()
    finally:
        connection.close()


class PostgresSourceLock:
    """Implements `kb_dr.ports.SourceLock` with an advisory lock of one session.

    A connection pooler in transaction mode would lend the session to others: check() notices
    that the lock is not this session's and calls it lost.
    """

    def __init__(self, connection: Session, source: SourceSettings, key: tuple[int, int]) -> None:
        self._connection = connection
        self._source = source
        self._key = key
        self._pid = 0

    def take(self) -> None:
        """Take the lock; BackupInProgress when another session holds it."""
        with translated("lock the source", self._source):
            # If this host vanishes, the server notices and lets the lock go.
            for name in ("tcp_keepalives_idle", "tcp_keepalives_interval"):
                self._connection.execute("select set_config(%s, '20', false)", (name,))

            self._connection.execute("select set_config('idle_session_timeout', '0', false)")
            taken = _value(self._connection, "select pg_try_advisory_lock(%s, %s)", *self._key)
            self._pid = int(_value(self._connection, "select pg_backend_pid()"))
        if not taken:
            another = "dump of this database" if self._key == DUMP else "backup of this server"
            raise BackupInProgress(
                f"back up {self._source.host}:{self._source.port}: another {another} is running"
            )

    def give_up(self) -> None:
        """Let the next backup begin at once: that a session ended the server notices later."""
        with suppress(psycopg.Error):  # a session that is gone holds nothing
            self._connection.execute("select pg_advisory_unlock(%s, %s)", self._key)

    def check(self) -> None:
        try:
            held = _value(
                self._connection,
                "select pg_backend_pid() = %s and exists (select from pg_locks where granted"
                " and locktype = 'advisory' and pid = pg_backend_pid()"
                " and classid = %s::bigint::oid and objid = %s::bigint::oid)",
                self._pid,
                *self._key,
            )
        except psycopg.Error as error:
            raise SourceLockLost(
                "hold the backup lock: its session ended",
                hint="The server was restarted or cannot be reached; start the backup again.",
            ) from error
        if not held:
            raise SourceLockLost(
                "hold the backup lock: this session does not hold it any more",
                hint="Connect to PostgreSQL itself, not through a connection pooler.",
            )


def _value(connection: Session, statement: str, *parameters: Any) -> Any:
    row = connection.execute(statement.encode(), parameters or None).fetchone()
    if row is None:
        raise PostgresError(f"ask PostgreSQL: no answer to {statement!r}")
    return row[0]
