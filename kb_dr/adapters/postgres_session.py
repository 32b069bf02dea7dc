"""Connections to PostgreSQL with deadlines, and its errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors

from kb_dr.adapters.postgres_programs import last_words
from kb_dr.errors import PostgresError, PostgresUnavailable
from kb_dr.settings import SourceSettings

CONNECT_SECONDS = 15
STATEMENT_SECONDS = 120.0
"""For questions that are answered at once; scans of whole tables are given more."""

Session = psycopg.Connection[tuple[Any, ...]]


def connection_words(source: SourceSettings) -> dict[str, str | int]:
    """How to reach the server, as libpq spells it and without the password."""
    return {
        "host": source.host,
        "port": source.port,
        "user": source.user,
        "sslmode": source.sslmode,
        "connect_timeout": CONNECT_SECONDS,
        # A host that vanished is noticed within a minute and a half.
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 5,
        "tcp_user_timeout": 90_000,
    }


def conninfo(words: dict[str, str | int]) -> str:
    """Such words as libpq reads them: each value quoted."""
    return " ".join(
        "{}='{}'".format(name, str(value).replace("\\", "\\\\").replace("'", "\\'"))
        for name, value in words.items()
    )


@contextmanager
def session(source: SourceSettings, *, statement_seconds: float = STATEMENT_SECONDS,
            what: str = "ask PostgreSQL") -> Iterator[Session]:  # fmt: skip
    """A session in autocommit, closed at the end; psycopg's errors become ours inside it."""
    with translated(what, source):
        connection = connect(source, statement_seconds=statement_seconds)
        try:
            yield connection
        finally:
            connection.close()


def server_major(source: SourceSettings) -> int:
    """The major version of the server, e.g. 16."""
    with session(source, what="ask PostgreSQL for its version") as connection:
        return connection.info.server_version // 10000


def connect(source: SourceSettings, *, statement_seconds: float = STATEMENT_SECONDS) -> Session:
    """Open a session whose statements have a deadline. Raises psycopg's errors."""
    password = source.password.reveal() if source.password else None
    connection = psycopg.connect(
        **connection_words(source),  # type: ignore[arg-type]  # libpq's words, not psycopg's own
        dbname=source.database,
        password=password,
        # Names go out and come in as UTF-8, whatever the database's own encoding.
        client_encoding="UTF8",
        application_name="kb-dr",
        autocommit=True,
    )
    try:
        milliseconds = f"{int(statement_seconds * 1000)}ms"
        connection.execute("select set_config('statement_timeout', %s, false)", (milliseconds,))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def translated(what: str, source: SourceSettings | None = None) -> Iterator[None]:
    """Turn psycopg's errors into ours; ``what`` begins the message."""
    where = f" on {source.host}:{source.port}" if source else ""
    try:
        yield
    except errors.QueryCanceled as error:
        raise PostgresError(f"{what}{where}: a statement outlasted its deadline") from error
    except errors.InsufficientPrivilege as error:
        raise PostgresError(
            f"{what}{where}: {what_was_seen(error)}",
            hint="Grant the backup's role REPLICATION, pg_read_all_data, pg_read_all_settings and "
            "execute on pg_create_restore_point and pg_switch_wal.",
        ) from error
    except psycopg.OperationalError as error:
        raise PostgresUnavailable(
            f"{what}{where}: {what_was_seen(error)}",
            hint="Check that the server runs, its address, the user and its password.",
        ) from error
    except psycopg.Error as error:
        raise PostgresError(f"{what}{where}: {what_was_seen(error)}") from error


def what_was_seen(error: psycopg.Error) -> str:
    """What the server said; the values of a row that a DETAIL may quote are left out."""
    return last_words((error.diag.message_primary or str(error)).encode()) or type(error).__name__
