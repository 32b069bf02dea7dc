"""The PostgreSQL under protection, asked with psycopg."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from threading import Event
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from kb_dr.adapters.postgres_session import Session, connect, session, translated
from kb_dr.adapters.source_description import describe_source, read_configuration, tablespaces
from kb_dr.adapters.source_facts import read_facts
from kb_dr.adapters.source_lock import BASE_BACKUP, PostgresSourceLock, source_lock
from kb_dr.adapters.table_sample import critical_tables, fingerprint_table
from kb_dr.domain.base_backup import ArchiverStatus, SourceConfiguration
from kb_dr.domain.fingerprint import Fingerprint, TableFingerprint, agreed
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Source
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.tablespaces import Tablespace
from kb_dr.errors import ConfigurationError, PostgresError
from kb_dr.settings import DEFAULT_SLOT, SourceSettings

_SETTLE_SECONDS = 0.25
"""A commit may be in the WAL and not yet visible while it is being flushed; after this it is."""

_SCAN_SECONDS = 3600.0

_TURN_SECONDS = 0.5
"""How long a question that was cancelled may take to end before it is cancelled once more."""

_TURNS = 20

_LOCKED = b"""
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_locks l
join pg_catalog.pg_database d on d.oid = l.database and d.datname = current_database()
join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where l.mode = 'AccessExclusiveLock' and l.granted
"""


class PostgresSource:
    """Implements `kb_dr.ports.SourceServer`."""

    def __init__(self, source: SourceSettings, slot: str = DEFAULT_SLOT) -> None:
        self._source = source
        self._slot = slot

    @contextmanager
    def exclusive(self) -> Iterator[PostgresSourceLock]:
        with source_lock(self._source, BASE_BACKUP) as lock:
            yield lock

    def describe(self) -> Source:
        with session(
            self._source, statement_seconds=_SCAN_SECONDS, what="describe the source"
        ) as s:
            return describe_source(s, self._source)

    def fingerprint(
        self,
        restore_point: str,
        tables: Sequence[str],
        written: Callable[[Lsn], object] = lambda lsn: None,
    ) -> tuple[Fingerprint, tuple[str, ...]]:
        # Two snapshots are taken a moment before and after the restore point, and looked at
        # whenever there is time: however long the scans take, only what moved in that moment
        # is lost. The first is looked at while commits settle for the second.
        with ExitStack() as stack, translated("fingerprint the source", self._source):
            before, after, main = (
                stack.enter_context(
                    _closing(connect(self._source, statement_seconds=_SCAN_SECONDS))
                )
                for _ in range(3)
            )
            names, unknown = critical_tables(main, tables)
            if unknown:
                raise ConfigurationError(
                    f"fingerprint the source: no permanent table {', '.join(unknown)}",
                    hint="Correct KB_DR_CRITICAL_TABLES: schema.table, in the database under "
                    "protection; no backup holds rows of unlogged tables, and the heartbeat "
                    "never stands still.",
                )
            files = _files(main, names)
            first = _freeze(before)
            lsn = Lsn.parse(_value(main, "select pg_create_restore_point(%s)::text", restore_point))
            # In a restored server paused there these locks are held, and nobody gets past them.
            locked = {row[0] for row in main.execute(_LOCKED)}.intersection(names)
            settled = time.monotonic() + _SETTLE_SECONDS
            free = [name for name in names if name not in locked]
            pool = stack.enter_context(ThreadPoolExecutor(2, "fingerprint"))
            ended = Event()
            seen = [pool.submit(_looks, before, free, restore_point, ended)]
            stack.callback(_end, (before, after), seen, ended)
            written(lsn)
            time.sleep(max(0.0, settled - time.monotonic()))
            # Nothing became visible in between: one look shows what stood at the restore point.
            if _freeze(after) != first:
                seen.append(pool.submit(_looks, after, free, restore_point, ended))
            wait(seen, return_when=FIRST_EXCEPTION)
            firsts, lasts = seen[0].result(), seen[-1].result()
            looks = [_compared(firsts[name], lasts[name]) for name in free]
            moved = {name for name, file in _files(main, names).items() if file != files[name]}
        kept = [look for look in looks if look[0] is not None and look[0].table not in moved]
        notes = [note for _, found in looks for note in found]
        notes += [
            f"{name} was locked at the restore point, as by a migration" for name in sorted(locked)
        ]
        # Old snapshots see a truncated or rewritten table as empty (docs: "MVCC Caveats").
        notes += [f"{name} was truncated, rewritten or dropped meanwhile" for name in sorted(moved)]
        tables_kept = tuple(table for table, _ in kept if table is not None)
        return Fingerprint(restore_point, lsn, tables_kept), tuple(notes)

    def configuration(self) -> SourceConfiguration:
        with session(self._source, what="read the source's configuration") as s:
            return read_configuration(s)

    def tablespaces(self) -> tuple[Tablespace, ...]:
        with session(self._source, what="ask for tablespaces") as s:
            return tablespaces(s)

    def switch_wal(self) -> Lsn:
        with session(self._source, what="switch the source's WAL") as s:
            # At the start of a segment pg_switch_wal does nothing and returns its start: all
            # before it is in ended segments already.
            return Lsn.parse(_value(s, "select pg_switch_wal()::text"))

    def archiver(self) -> ArchiverStatus:
        with session(self._source, what="ask for the archiver") as s:
            row = s.execute(
                "select current_setting('archive_mode'),"
                " coalesce(nullif(current_setting('archive_library', true), ''),"
                "          current_setting('archive_command')),"
                " archived_count, failed_count, last_archived_wal, last_archived_time,"
                " last_failed_wal, last_failed_time from pg_stat_archiver"
            ).fetchone()
        if row is None:
            raise PostgresError("ask for the archiver: pg_stat_archiver is empty")
        return ArchiverStatus(*row)

    def facts(self) -> SourceFacts:
        with session(self._source, what="ask the source") as s:
            return read_facts(s, self._slot)


@contextmanager
def _closing(connection: Session) -> Iterator[Session]:
    try:
        yield connection
    finally:
        connection.close()


def _value(connection: Session, statement: str, *parameters: Any) -> Any:
    row = connection.execute(statement.encode(), parameters or None).fetchone()
    if row is None:
        raise PostgresError(f"ask PostgreSQL: no answer to {statement!r}")
    return row[0]


def _freeze(connection: Session) -> str:
    """Take a snapshot that every later question of this session sees; what it shows, as text."""
    connection.execute("begin isolation level repeatable read, read only")
    snapshot = _value(connection, "select pg_current_snapshot()::text")
    if connection.info.transaction_status is not TransactionStatus.INTRANS:
        raise PostgresError("freeze a snapshot: the session is not in a transaction")
    return str(snapshot)


def _files(connection: Session, names: Sequence[str]) -> dict[str, int | None]:
    """The file each table is in: another one after TRUNCATE, and after many ALTER TABLE."""
    rows = connection.execute(
        "select name, pg_relation_filenode(to_regclass(name))::bigint from unnest(%s::text[]) name",
        (list(names),),
    ).fetchall()
    return dict(rows)


def _looks(
    connection: Session, tables: Sequence[str], seed: str, ended: Event
) -> dict[str, TableFingerprint | str]:
    """What one snapshot shows of each table; or why it could not be looked at."""
    return {table: _look(connection, table, seed) for table in tables if not ended.is_set()}


def _end(sessions: Sequence[Session], seen: Sequence[Future[Any]], ended: Event) -> None:
    """Nobody waits for looks any more: end those under way, which may take an hour."""
    ended.set()
    for connection, future in zip(sessions, seen, strict=False):
        for _ in range(_TURNS):
            if future.done():
                break
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=_TURN_SECONDS)
            wait([future], timeout=_TURN_SECONDS)


def _look(connection: Session, table: str, seed: str) -> TableFingerprint | str:
    try:
        return fingerprint_table(connection, table, seed)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return f"{table} was changed by a migration while it was looked at"
    except psycopg.errors.QueryCanceled:
        # Too large, or locked for too long: no reason to throw the backup away.
        return f"{table} could not be read within {_SCAN_SECONDS:g} s: it is not recorded"


def _compared(
    before: TableFingerprint | str, after: TableFingerprint | str
) -> tuple[TableFingerprint | None, list[str]]:
    """What the snapshots agree on; nothing when one of them could not be looked at."""
    if isinstance(before, str):
        return None, [before]
    if isinstance(after, str):
        return None, [after]
    return _agreed(before, after)


def _agreed(
    before: TableFingerprint, after: TableFingerprint
) -> tuple[TableFingerprint, list[str]]:
    both = agreed(before, after)
    notes = []
    if not both.key_columns:
        notes.append(f"{both.table} has no primary key: it is counted, not sampled")
    if both.rows is None:
        notes.append(f"{both.table} changed at the restore point: its count is not kept")
    moved = len(before.sample) - len(both.sample)
    if moved:
        notes.append(f"{both.table}: {moved} sampled rows changed at the restore point")
    return both, notes
