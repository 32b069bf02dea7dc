"""Sessions with the catalog database: short deadlines, our own words for its errors."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.adapt import Dumper, Loader
from psycopg.types.string import StrDumper

from kb_dr.adapters.postgres_session import Session, what_was_seen
from kb_dr.domain.lsn import Lsn
from kb_dr.errors import CatalogError, CatalogUnavailable
from kb_dr.scrub import remember
from kb_dr.settings import CatalogSettings

CONNECT_SECONDS = 3
"""All that a backup ever waits for a catalog that is down. libpq takes nothing below 2."""

_STATEMENT_SECONDS = 120

_PASSES_BY_ITSELF = (
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.AdminShutdown,
    errors.CannotConnectNow,
    errors.TooManyConnections,
    errors.DeadlockDetected,
    errors.ReadOnlySqlTransaction,
)

_GRANTS = (
    "The role of KB_DR_CATALOG_URL needs CREATE on the schema `public` of its database, or to own "
    "the tables there: give it a database of its own."
)


class _LsnLoader(Loader):
    def load(self, data: Any) -> Lsn:
        return Lsn.parse(bytes(data).decode())


class _WholeLoader(Loader):
    """The only numeric here is the system identifier."""

    def load(self, data: Any) -> int:
        return int(bytes(data))


class _LsnDumper(Dumper):
    def dump(self, obj: Any) -> bytes:
        return str(obj).encode()


@contextmanager
def catalog_session(
    settings: CatalogSettings, schema: str, *, deadline_seconds: float | None = None
) -> Iterator[Session]:
    """A session in autocommit, in UTC, whose tables are those of ``schema``."""
    with translated(settings):
        connection = psycopg.connect(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            dbname=settings.database,
            sslmode=settings.sslmode,
            password=_password(settings),
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=30_000,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            application_name="kb-dr catalog",
            autocommit=True,
        )
        watch = _cut_off_after(connection, deadline_seconds)
        try:
            connection.adapters.register_loader("pg_lsn", _LsnLoader)
            connection.adapters.register_loader("numeric", _WholeLoader)
            connection.adapters.register_dumper(Lsn, _LsnDumper)
            connection.adapters.register_dumper(str, StrDumper)
            for name, value in (
                ("timezone", "UTC"),
                ("statement_timeout", f"{_STATEMENT_SECONDS}s"),
                ("lock_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "0"),
            ):
                connection.execute("select set_config(%s, %s, false)", (name, value))
            connection.execute(
                sql.SQL("set search_path to {}, pg_temp").format(sql.Identifier(schema))
            )
            yield connection
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()


def _cut_off_after(connection: Session, seconds: float | None) -> threading.Timer | None:
    """Shut the connection when the time is over: a server that is stuck has no deadline itself."""
    if seconds is None:
        return None

    def cut_off() -> None:
        # Of a connection that was closed meanwhile there is nothing to shut.
        with suppress(OSError, psycopg.Error):
            wire = socket.socket(fileno=os.dup(connection.fileno()))
            with wire:
                wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()
    return timer


def _password(settings: CatalogSettings) -> str | None:
    """The first line of the file; its path is not shown: it may be the password itself."""
    file = settings.password_file
    if file is None:
        return None
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CatalogError(
                "read KB_DR_CATALOG_PASSWORD_FILE: the file is open to others, expected mode 0600",
                hint="`chmod 600` it.",
            )
        password = file.read_text().strip()
        remember(password)
        return password
    except (OSError, ValueError) as error:
        seen = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CatalogError(
            f"read KB_DR_CATALOG_PASSWORD_FILE: {seen}",
            hint="Let it be a file that this user can read.",
        ) from error


@contextmanager
def translated(settings: CatalogSettings) -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    where = f"use the catalog at {settings.url}"
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise CatalogError(f"{where}: {what_was_seen(error)}", hint=_GRANTS) from error
    except errors.InvalidCatalogName as error:
        raise CatalogError(
            f"{where}: {what_was_seen(error)}",
            hint="Make that database (`createdb`), or correct KB_DR_CATALOG_URL.",
        ) from error
    except (errors.InvalidPassword, errors.InvalidAuthorizationSpecification) as error:
        raise CatalogError(
            f"{where}: {what_was_seen(error)}",
            hint="The password comes from ~/.pgpass or KB_DR_CATALOG_PASSWORD_FILE.",
        ) from error
    except _PASSES_BY_ITSELF as error:
        raise CatalogUnavailable(f"{where}: {what_was_seen(error)}") from error
    except psycopg.OperationalError as error:
        # A refused log-in bears no SQLSTATE in psycopg: its words are all there is.
        seen = what_was_seen(error)
        if "authentication failed" in seen or "no password supplied" in seen:
            raise CatalogError(
                f"{where}: {seen}",
                hint="The password comes from ~/.pgpass or KB_DR_CATALOG_PASSWORD_FILE.",
            ) from error
        if "does not exist" in seen:
            raise CatalogError(
                f"{where}: {seen}",
                hint="Make that database or role, or correct KB_DR_CATALOG_URL.",
            ) from error
        raise CatalogUnavailable(f"{where}: {seen}") from error
    except psycopg.Error as error:
        raise CatalogError(f"{where}: {what_was_seen(error)}") from error
