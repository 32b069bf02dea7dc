"""The catalog in PostgreSQL: one writer at a time, readers that never see half a change."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import msgspec
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from kb_dr.adapters.catalog_migrations import MIGRATIONS, VERSION
from kb_dr.adapters.catalog_owner import claim, has_table, refuse_others
from kb_dr.adapters.catalog_session import catalog_session
from kb_dr.adapters.catalog_tables import TABLES, copy_in, gathered, select_table
from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.catalog_rows import BackupRows, SyncedCopy, SyncState
from kb_dr.errors import CatalogError, CatalogUnavailable
from kb_dr.records import from_builtins
from kb_dr.settings import CatalogSettings

SCHEMA = "public"

_LOCK = 0x6B626472
"""Told apart from other advisory locks of the database by the schema behind it."""

_BATCH = 200
"""Backups written at once: what is held in memory."""


class PostgresCatalog:
    """Implements `kb_dr.ports.Catalog`."""

    def __init__(
        self, settings: CatalogSettings, *, service: str, org: str, schema: str = SCHEMA
    ) -> None:
        self._settings = settings
        self._owner = (service, org)
        self._schema = schema

    @property
    def url(self) -> str:
        return self._settings.url

    @contextmanager
    def writing(
        self, *, wait_seconds: float, deadline_seconds: float | None = None
    ) -> Iterator["PostgresCatalogWriter"]:
        with catalog_session(
            self._settings, self._schema, deadline_seconds=deadline_seconds
        ) as session:
            self._lock(session, wait_seconds)
            with session.transaction():
                refuse_others(session, self._owner)
                _migrate(session, self._schema)
                claim(session, self._owner)
            yield PostgresCatalogWriter(session, self._schema)
            # The server notices later that a session has ended; the next writer need not wait.
            session.execute("select pg_advisory_unlock_all()")

    @contextmanager
    def reading(self) -> Iterator["PostgresCatalogReader"]:
        with catalog_session(self._settings, self._schema) as session, session.transaction():
            session.execute("set transaction isolation level repeatable read, read only")
            refuse_others(session, self._owner)
            yield PostgresCatalogReader(session)

    @contextmanager
    def scratch(self) -> Iterator["PostgresCatalog"]:
        """An empty catalog beside this one, in a schema of its own, gone at the end."""
        name = f"{self._schema}_rebuilt"
        with catalog_session(self._settings, name) as session:
            self._lock(session, 0, schema=f"making {name}")
            made = sql.Identifier(name)
            session.execute(sql.SQL("drop schema if exists {} cascade").format(made))
            session.execute(sql.SQL("create schema {}").format(made))
            try:
                service, org = self._owner
                yield PostgresCatalog(self._settings, service=service, org=org, schema=name)
            finally:
                session.execute(sql.SQL("drop schema if exists {} cascade").format(made))

    def _lock(self, session: Session, wait_seconds: float, *, schema: str | None = None) -> None:
        """Held until it is given up, or the session ends."""
        of = schema or self._schema
        if wait_seconds > 0:
            milliseconds = str(int(wait_seconds * 1000))
            session.execute("select set_config('statement_timeout', '0', false)")
            session.execute("select set_config('lock_timeout', %s, false)", (milliseconds,))
            try:
                session.execute("select pg_advisory_lock(%s, hashtext(%s))", (_LOCK, of))
            except errors.LockNotAvailable as error:
                raise self._busy() from error
            session.execute("select set_config('statement_timeout', '120s', false)")
            session.execute("select set_config('lock_timeout', '10s', false)")
            return
        row = session.execute("select pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK, of))
        if row.fetchone() != (True,):
            raise self._busy()

    def _busy(self) -> CatalogUnavailable:
        return CatalogUnavailable(f"use the catalog at {self.url}: another writer is at work in it")


class PostgresCatalogReader:
    """Implements `kb_dr.ports.CatalogReader`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def state(self) -> SyncState | None:
        if not has_table(self._session, "catalog_state"):
            return None
        row = self._session.execute(
            "select began, finished, backups, copies from catalog_state"
        ).fetchone()
        if row is None:
            return None
        began, finished, backups, copies = row
        return SyncState(began, finished, backups, tuple(from_builtins(list[SyncedCopy], copies)))

    def tokens(self) -> Mapping[str, str]:
        named = " union ".join(f"select backup_id from {table.name}" for table in TABLES)  # noqa: S608 - names of ours
        found = self._session.execute(
            f"select backup_id, coalesce(token, '') from ({named}) as known"  # noqa: S608 - names of ours
            " left join catalog_tokens using (backup_id)"
            " where exists (select from backup_logs where backup_logs.backup_id = known.backup_id)"
            f" union all select backup_id, '' from ({named}) as known"
            " where not exists"
            " (select from backup_logs where backup_logs.backup_id = known.backup_id)"
        )
        return {str(backup): str(token) for backup, token in found}

    def rows(self) -> Iterator[BackupRows]:
        streams = [
            _ByBackup(select_table(self._session, table, name=f"of_{table.name}"))
            for table in TABLES
        ]
        while (backup := min((s.next_id for s in streams if s.next_id), default=None)) is not None:
            found = gathered([stream.take(backup) for stream in streams])
            if found is not None:
                yield found

    def rows_of(self, backup_id: str) -> BackupRows | None:
        return gathered([list(select_table(self._session, table, backup_id)) for table in TABLES])


class PostgresCatalogWriter(PostgresCatalogReader):
    """Implements `kb_dr.ports.CatalogWriter`."""

    def __init__(self, session: Session, schema: str) -> None:
        super().__init__(session)
        self._schema = schema

    def rows(self) -> Iterator[BackupRows]:
        with self._session.transaction():
            yield from super().rows()

    def replace(self, rows: Sequence[BackupRows]) -> None:
        with self._session.transaction():
            self._delete([each.backup_id for each in rows])
            copy_in(self._session, self._schema, rows)

    def remove(self, backup_ids: Iterable[str]) -> None:
        with self._session.transaction():
            self._delete(list(backup_ids))

    def note_sync(self, state: SyncState) -> None:
        with self._session.transaction():
            self._note(state)

    def rebuild(self, rows: Iterable[BackupRows], state: SyncState) -> int:
        self._stage(rows)
        with self._session.transaction():
            if _shape(self._session, temporary=True) != _shape(self._session, temporary=False):
                _drop(self._session)
                _make(self._session, 0)
            count = 0
            for table in TABLES:
                live = sql.Identifier(self._schema, table.name)
                staged = sql.Identifier("pg_temp", table.name)
                self._session.execute(sql.SQL("delete from {}").format(live))
                done = self._session.execute(
                    sql.SQL("insert into {live} ({columns}) select {columns} from {staged}").format(
                        live=live, staged=staged, columns=table.column_list()
                    )
                )
                count = done.rowcount if table.name == "backup_logs" else count
            self._note(state)
        return count

    def _stage(self, rows: Iterable[BackupRows]) -> None:
        """Everything into temporary tables, made by the same steps as the real ones."""
        path = sql.SQL("set local search_path to pg_temp")
        with self._session.transaction():
            self._session.execute(path)
            for step in MIGRATIONS:
                self._session.execute(step.encode())
        batch: list[BackupRows] = []
        for each in rows:
            batch.append(each)
            if len(batch) >= _BATCH:
                copy_in(self._session, "pg_temp", batch)
                batch = []
        copy_in(self._session, "pg_temp", batch)

    def _delete(self, ids: list[str]) -> None:
        for table in TABLES:
            self._session.execute(
                sql.SQL("delete from {} where backup_id = any(%s)").format(
                    sql.Identifier(self._schema, table.name)
                ),
                (ids,),
            )

    def _note(self, state: SyncState) -> None:
        self._session.execute("delete from catalog_state")
        self._session.execute(
            "insert into catalog_state (began, finished, backups, copies) values (%s, %s, %s, %s)",
            (state.began, state.finished, state.backups, Jsonb(msgspec.to_builtins(state.copies))),
        )


class _ByBackup:
    """The rows of one table, a backup at a time."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._groups = groupby(rows, key=lambda row: str(row.backup_id))
        self._rows: Iterator[Any] = iter(())
        self.next_id: str | None = None
        self._advance()

    def take(self, backup: str) -> list[Any]:
        """The rows of this backup, if it is the next one here."""
        if self.next_id != backup:
            return []
        found = list(self._rows)
        self._advance()
        return found

    def _advance(self) -> None:
        self.next_id, self._rows = next(self._groups, (None, iter(())))


def _migrate(session: Session, schema: str) -> None:
    """Bring the tables to the present version; all of it or nothing."""
    with session.transaction():
        there = has_table(session, "catalog_migrations")
        row = (
            session.execute("select coalesce(max(version), 0) from catalog_migrations").fetchone()
            if there
            else None
        )
        version = int(row[0]) if row else 0
        if version > VERSION:
            raise CatalogError(
                f"use the catalog: its tables are of version {version}, expected {VERSION}",
                hint="A newer kb-dr made them; use that version here, too.",
            )
        if not there and has_table(session, "backup_logs"):
            raise CatalogError(
                f"make the catalog: {schema} holds a table backup_logs that kb-dr did not make",
                hint="Nothing of it was touched. Give KB_DR_CATALOG_URL a database of its own.",
            )
        if version < VERSION:
            _make(session, version)


def _make(session: Session, version: int) -> None:
    session.execute(
        "create table if not exists catalog_migrations ("
        "version integer primary key, applied_at timestamptz not null default now())"
    )
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        session.execute(step.encode())
        session.execute("insert into catalog_migrations (version) values (%s)", (number,))


def _drop(session: Session) -> None:
    """Ours alone: that they are was looked at when the session began."""
    for name in (*(table.name for table in TABLES), "catalog_state", "catalog_migrations"):
        session.execute(
            sql.SQL("drop table if exists {}.{}").format(
                sql.Identifier(_current_schema(session)), sql.Identifier(name)
            )
        )


def _current_schema(session: Session) -> str:
    row = session.execute("select current_schema()").fetchone()
    return str(row[0]) if row else SCHEMA


def _shape(session: Session, *, temporary: bool) -> list[tuple[Any, ...]]:
    """Columns, defaults and indexes of our tables, as text to be compared."""
    schema = "pg_my_temp_schema()" if temporary else "current_schema()::regnamespace"
    names = [*(table.name for table in TABLES), "catalog_state"]
    columns = session.execute(
        "select relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull,"  # noqa: S608 - words of ours
        " pg_get_expr(adbin, adrelid) from pg_class join pg_attribute on attrelid = pg_class.oid"
        " left join pg_attrdef on adrelid = attrelid and adnum = attnum"
        f" where relnamespace = {schema} and relname = any(%s) and attnum > 0"
        " and not attisdropped and relkind = 'r' order by relname, attnum",
        (names,),
    ).fetchall()
    indexes = session.execute(
        "select relname, pg_get_indexdef(indexrelid) from pg_class"  # noqa: S608 - words of ours
        " join pg_index on indrelid = pg_class.oid"
        f" where relnamespace = {schema} and relname = any(%s)",
        (names,),
    ).fetchall()
    plain = sorted((str(n), re.sub(r" ON \S+\.", " ON ", str(d), count=1)) for n, d in indexes)
    return [*columns, *plain]
