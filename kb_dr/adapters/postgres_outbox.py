"""The outbox in PostgreSQL: each step one transaction, one at a time, one who delivers."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec

from kb_dr.adapters.catalog_owner import claim, has_table, refuse_others
from kb_dr.adapters.catalog_session import catalog_session, translated
from kb_dr.adapters.outbox_migrations import OUTBOX_MIGRATIONS
from kb_dr.adapters.outbox_rows import (
    read_alert,
    read_channel,
    read_delivery,
    write_changes,
)
from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_merge import KEPT, NOTICES_KEPT
from kb_dr.domain.delivery import Delivery
from kb_dr.errors import CatalogError, CatalogUnavailable, OutboxUnavailable
from kb_dr.settings import CatalogSettings

_BOOK, _DELIVERY = 0x6B62616C, 0x6B626164
"""Advisory locks, told apart from others of the database by the schema behind them."""

_OWNER = "alert_owner"


class PostgresOutbox:
    """Implements `kb_dr.ports.Outbox`."""

    def __init__(
        self, settings: CatalogSettings, *, service: str, org: str, schema: str = "public"
    ) -> None:
        self._settings = settings
        self._owner = (service, org)
        self._schema = schema

    @property
    def url(self) -> str:
        return self._settings.url

    @contextmanager
    def opened(self, *, seconds: float) -> Iterator["PostgresOutboxSession"]:
        with (
            _translated(self._settings),
            catalog_session(self._settings, self._schema, deadline_seconds=seconds) as session,
        ):
            with session.transaction():
                _lock(session, self._schema)
                refuse_others(session, self._owner)
                refuse_others(session, self._owner, table=_OWNER)
                _migrate(session)
                claim(session, self._owner, table=_OWNER)
            yield PostgresOutboxSession(session, self._settings, self._schema)


class PostgresOutboxSession:
    """Implements `kb_dr.ports.OutboxSession`."""

    def __init__(self, session: Session, settings: CatalogSettings, schema: str) -> None:
        self._session = session
        self._settings = settings
        self._schema = schema
        self._alone = threading.Lock()
        """Channels are served by threads; a session has one transaction at a time."""

    def claim_delivery(self) -> bool:
        with self._working():
            row = self._session.execute(
                "select pg_try_advisory_lock(%s, hashtext(%s))", (_DELIVERY, self._schema)
            )
            return row.fetchone() == (True,)

    def change(
        self,
        decide: Callable[[Book], None],
        *,
        keys: Collection[str] = (),
        notices: Collection[str] = (),
        alerts: Collection[str] = (),
    ) -> Book:
        with self._working(), self._session.transaction():
            _lock(self._session, self._schema)
            book = self._read(list(keys), list(notices), list(alerts))
            decide(book)
            write_changes(self._session, book.changes())
        return book

    def keep(self, changes: Changes) -> None:
        with self._working(), self._session.transaction():
            write_changes(self._session, changes)

    def alerts(self, *, closed: bool) -> tuple[Alert, ...]:
        with self._working():
            found = self._session.execute(
                "select body from alert_log where %s or closed_at is null order by opened_at, id",
                (closed,),
            )
            return tuple(read_alert(body) for (body,) in found)

    def deliveries(self, alert_id: str) -> tuple[Delivery, ...]:
        return self._deliveries("alert_id = %s", (alert_id,))

    def unsent(self) -> tuple[Delivery, ...]:
        return self._deliveries("state in ('pending', 'sending', 'dead')", ())

    def forget(self, *, now: datetime, most: int) -> int:
        with self._working(), self._session.transaction():
            gone = self._session.execute(
                "delete from alert_log where id in (select id from alert_log"
                " where closed_at < %s limit %s) returning id",
                (now - KEPT, most),
            ).fetchall()
            done = len(gone)
            for statement, value in (
                ("delete from alert_deliveries where alert_id = any(%s)", [row[0] for row in gone]),
                ("delete from alert_deliveries where id in (select id from alert_deliveries where"
                 " alert_id = '' and finished_at < %s limit 500)", now - KEPT),
                ("delete from alert_notices where id in (select id from alert_notices"
                 " where taken_at < %s limit 5000)", now - NOTICES_KEPT),
            ):  # fmt: skip
                done += self._session.execute(statement.encode(), (value,)).rowcount
        return done

    def _deliveries(self, where: str, values: tuple[Any, ...]) -> tuple[Delivery, ...]:
        with self._working():
            found = self._session.execute(
                f"select body from alert_deliveries where {where} order by sequence, id".encode(),  # noqa: S608 - words of ours
                values,
            )
            return tuple(read_delivery(body) for (body,) in found)

    def _read(self, keys: list[str], notices: list[str], alerts: list[str]) -> Book:
        book = Book()
        ask = self._session.execute
        for (body,) in ask(
            "select body from alert_log where closed_at is null or id = any(%s) or id in"
            " (select alert_id from alert_deliveries where state in ('pending', 'sending'))"
            " union all (select distinct on (key) body from alert_log where key = any(%s)"
            " and closed_at is not null and body->>'folded_into' = ''"
            " and not (body->>'is_told_once')::boolean order by key, last_seen_at desc)",
            (alerts, keys),
        ):
            alert = read_alert(body)
            book.alerts[alert.id] = alert
        for (body,) in ask(
            "select body from alert_deliveries where state in ('pending', 'sending')"
            " or alert_id = any(%s)",
            (alerts,),
        ):
            delivery = read_delivery(body)
            book.deliveries[delivery.id] = delivery
        for (body,) in ask("select body from alert_channels"):
            state = read_channel(body)
            book.channels[state.name] = state
        book.notices.update(
            (str(name), at)
            for name, at in ask(
                "select id, taken_at from alert_notices where id = any(%s)", (notices,)
            )
        )
        row = ask("select coalesce(max(sequence), 0) from alert_deliveries").fetchone()
        book.last_sequence = int(row[0]) if row else 0
        return book

    @contextmanager
    def _working(self) -> Iterator[None]:
        with self._alone, _translated(self._settings):
            yield


@contextmanager
def _translated(settings: CatalogSettings) -> Iterator[None]:
    """Whatever the database says no to, as a trouble of the outbox."""
    try:
        with translated(settings):
            yield
    except (CatalogError, CatalogUnavailable) as error:
        raise OutboxUnavailable(f"keep the alerts: {error}", hint=error.hint) from error
    except msgspec.ValidationError as error:
        raise OutboxUnavailable(
            f"read the alerts of {settings.url}: {error}",
            hint="They were written by another version of kb-dr; use the newer one.",
        ) from error


def _lock(session: Session, schema: str) -> None:
    """Until the transaction ends."""
    session.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (_BOOK, schema))


def _migrate(session: Session) -> None:
    """Bring the tables to the present version; all of it or nothing."""
    there = has_table(session, "alert_migrations")
    row = (
        session.execute("select coalesce(max(version), 0) from alert_migrations").fetchone()
        if there
        else None
    )
    version = int(row[0]) if row else 0
    if version > len(OUTBOX_MIGRATIONS):
        raise CatalogError(
            f"use the alerts' tables: they are of version {version}, "
            f"expected {len(OUTBOX_MIGRATIONS)}",
            hint="A newer kb-dr made them; use that version here, too.",
        )
    if not there:
        session.execute(
            "create table alert_migrations ("
            "version integer primary key, applied_at timestamptz not null default now())"
        )
    for number, step in enumerate(OUTBOX_MIGRATIONS[version:], version + 1):
        session.execute(step.encode())
        session.execute("insert into alert_migrations (version) values (%s)", (number,))
