"""Look at the structure of every database of a restored server: amcheck, pg_visibility.

The extensions are created in the scratch cluster itself, which is thrown away.
Sources: PostgreSQL docs, "amcheck" and "pg_visibility".
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from kb_dr.adapters.postgres_session import Session, what_was_seen
from kb_dr.domain.inspection import Examined

Connect = Callable[[str], Session]
"""Opens a session in the database named."""

_DAMAGE = (errors.DataCorrupted, errors.IndexCorrupted)
_CREATING = threading.Lock()
"""Two looks at once need the same extension, and two that create it get in each other's way."""
_LINES = 5
"""Damage named for one object; more says nothing new."""

_DATABASES = "select datname from pg_database where datallowconn order by datname"

_TABLES = """
select c.oid, c.oid::regclass::text
from pg_class c join pg_am a on a.oid = c.relam and a.amname = 'heap'
where c.relkind in ('r', 'm', 't') and c.relpersistence = 'p'
order by c.oid
"""

_TABLE_DAMAGE = """
select format('block %%s, offset %%s: %%s', blkno, offnum, msg)
from verify_heapam(%s::oid::regclass, on_error_stop => false, check_toast => true)
limit 5
"""

_INDEXES = """
select c.oid, c.oid::regclass::text
from pg_index i
join pg_class c on c.oid = i.indexrelid and c.relkind = 'i' and c.relpersistence = 'p'
join pg_am a on a.oid = c.relam and a.amname = 'btree'
where i.indisvalid and i.indisready
order by c.oid
"""

_INDEX_DAMAGE = "select bt_index_check(%s::oid::regclass, true)"

_MAP_DAMAGE = """
select format('row %%s stands on a page wrongly marked all-visible', t_ctid)
from pg_check_visible(%s::oid::regclass)
limit 5
"""

# A host whose locale sorts otherwise than the source's sees order broken where nothing is.
_OTHER_COLLATIONS = """
select collname::text from pg_collation
where collversion is distinct from pg_collation_actual_version(oid) and collversion is not null
"""
_OTHER_DATABASE_COLLATION = """
select datname::text from pg_database
where datname = current_database()
  and datcollversion is distinct from pg_database_collation_actual_version(oid)
  and datcollversion is not null
"""


def examine_tables(connect: Connect) -> Examined:
    """Every page, row and TOAST value of every table, materialised view and catalog."""
    return _everywhere(connect, "amcheck", _TABLES, _listed_damage(_TABLE_DAMAGE))


def examine_indexes(connect: Connect) -> Examined:
    """Every valid B-tree: its order, and that it holds every row of its table."""
    return _everywhere(connect, "amcheck", _INDEXES, _index_damage)


def examine_visibility(connect: Connect) -> Examined:
    """Every visibility map: a stale one makes index-only scans return wrong rows."""
    return _everywhere(connect, "pg_visibility", _TABLES, _listed_damage(_MAP_DAMAGE))


_Look = Callable[[Session, int], list[str]]


def _everywhere(connect: Connect, extension: str, objects: str, look: _Look) -> Examined:
    count = 0
    damage: list[str] = []
    unseen: list[str] = []
    with _session(connect, "template1") as first:
        databases = [row[0] for row in first.execute(_DATABASES)]
        at_hand = first.execute(
            "select 1 from pg_available_extensions where name = %s", [extension]
        ).fetchone()
    if at_hand is None:
        return Examined(0, lacking=(extension,))
    for database in databases:
        with _session(connect, database) as session:
            _create(session, extension)
            blind = _sorts_otherwise(session) if look is _index_damage else ""
            for oid, name in session.execute(objects.encode()).fetchall():
                try:
                    lines = look(session, oid)
                except _DAMAGE as error:
                    lines = [what_was_seen(error)]
                if lines and blind:
                    unseen.append(f"{database}.{name}: {blind}")
                else:
                    damage += [f"{database}.{name}: {line}" for line in lines]
                count += 1
    return Examined(count, tuple(damage), tuple(unseen))


def _create(session: Session, extension: str) -> None:
    """Make its functions callable by their bare names, wherever it is installed."""
    with _CREATING:
        # Words of ours, not of a user: extension is one of two.
        session.execute(f"create extension if not exists {extension}".encode())
    session.execute(
        "select set_config('search_path', 'pg_catalog, ' || quote_ident(n.nspname), false)"
        " from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = %s",
        [extension],
    )


def _listed_damage(statement: str) -> _Look:
    def look(session: Session, oid: int) -> list[str]:
        return [row[0] for row in session.execute(statement.encode(), [oid])]

    return look


def _index_damage(session: Session, oid: int) -> list[str]:
    session.execute(_INDEX_DAMAGE, [oid])
    return []


def _sorts_otherwise(session: Session) -> str:
    """Why a broken order here may be this host's doing; empty when it cannot be."""
    names = [row[0] for row in session.execute(_OTHER_COLLATIONS)]
    if session.info.server_version >= 150000:
        names += [row[0] for row in session.execute(_OTHER_DATABASE_COLLATION)]
    if not names:
        return ""
    return f"this host sorts collation {', '.join(names[:3])} otherwise than the source did"


@contextmanager
def _session(connect: Connect, database: str) -> Iterator[Session]:
    session: psycopg.Connection[tuple[object, ...]] = connect(database)
    try:
        yield session
    finally:
        session.close()
