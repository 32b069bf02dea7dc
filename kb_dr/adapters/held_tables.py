"""Lock every table a dump reads, and only then take its snapshot.

An old snapshot sees a table that was truncated or rewritten since as empty (docs: "MVCC Caveats"):
whatever was not locked before the snapshot may be missing from a dump without an error.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

import psycopg
from psycopg import errors

from kb_dr.adapters.postgres_session import Session
from kb_dr.errors import PostgresError, PostgresUnavailable

_PAUSE_SECONDS = 0.25
"""Between two tries; nothing is held meanwhile."""

_BATCH = 500
_NAMED = 5
"""Of many tables, so many are named."""

# What pg_dump reads rows of: tables of an extension only where that says so (extconfig).
_TABLES = """
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relpersistence <> 't'
  and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
  and (not exists (
           select from pg_catalog.pg_depend d where d.deptype = 'e'
             and d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid)
       or exists (select from pg_catalog.pg_extension e where c.oid = any(e.extconfig)))
order by n.nspname collate "C", c.relname collate "C"
"""

_HOLDERS = """
select distinct pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_locks l
join pg_catalog.pg_database d on d.oid = l.database and d.datname = current_database()
join pg_catalog.pg_class c on c.oid = l.relation and c.relkind in ('r', 'p')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where l.mode = 'AccessExclusiveLock' and l.pid <> pg_catalog.pg_backend_pid()
order by 1
"""


def hold_tables(session: Session, deadline: float) -> str:
    """Lock every table against being dropped, truncated or rewritten, and export a snapshot.

    The session is left in the transaction that holds both. Locks are taken all at once or not at
    all, and nothing is held while waiting for another try: a migration is neither waited for with
    its own tables locked nor driven into a deadlock. Tries until ``deadline``, of
    time.monotonic(); then PostgresUnavailable names what is in the way.
    """
    seen = ""
    while True:
        listed = _tables(session)
        session.execute("begin isolation level repeatable read, read only")
        try:
            _lock(session, listed)
            # The first question of the transaction: its snapshot is taken now, behind the locks.
            row = session.execute("select pg_catalog.pg_export_snapshot()").fetchone()
            appeared = set(_tables(session)).difference(listed)
            if row is not None and not appeared:
                return str(row[0])
            seen = f"created meanwhile: {_some(sorted(appeared))}"
        except errors.LockNotAvailable:
            seen = ""
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            seen = error.diag.message_primary or "a table was dropped meanwhile"
        except errors.OutOfMemory as error:
            raise PostgresError(
                f"lock {len(listed)} tables for a dump: out of shared memory",
                hint="Raise max_locks_per_transaction of the server, and restart it: a dump locks "
                "every table at once, pg_dump once more.",
            ) from error
        with suppress(psycopg.Error):
            session.execute("rollback")
        if time.monotonic() >= deadline:
            if not seen:
                held = [row[0] for row in session.execute(_HOLDERS.encode()).fetchall()]
                seen = f"a schema migration holds {_some(held) or 'one of them'}"
            raise PostgresUnavailable(
                f"lock {len(listed)} tables for a dump: {seen}",
                hint="Nothing was written. Take the dump again when the migration is over.",
            )
        time.sleep(_PAUSE_SECONDS)


def _tables(session: Session) -> list[str]:
    return [row[0] for row in session.execute(_TABLES.encode()).fetchall()]


def _lock(session: Session, tables: Sequence[str]) -> None:
    # Names as format('%I') quotes them; ONLY, since each partition is in the list itself.
    for start in range(0, len(tables), _BATCH):
        names = ", ".join(f"only {table}" for table in tables[start : start + _BATCH])
        session.execute(f"lock table {names} in access share mode nowait".encode())


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
