"""Damage a restored scratch server on purpose: rows lost, indexes that were not told of rows."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from kb_dr.adapters.index_recall import vector_indexes
from kb_dr.adapters.postgres_session import Session, translated
from kb_dr.domain.control import Harm
from kb_dr.domain.manifest import Source
from kb_dr.errors import NotProven, PostgresError
from kb_dr.ports import RestoredServer

_OPTIONS = {
    "default_transaction_read_only": "off",
    "lock_timeout": "60s",
    "statement_timeout": str(12 * 3600 * 1000),
    # Neither triggers nor foreign keys: rows are moved, not changed.
    "session_replication_role": "replica",
    # Rows are counted where they lie. An index would go on telling of those that are gone.
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
}

_SCRATCH = "select current_setting('cluster_name'), current_setting('archive_mode')"
_OURS = ("kb_dr", "off")
"""As kb_dr/domain/scratch_configuration.py sets them; no cluster in service has both."""

_FILE = """
select n.nspname, c.relname, current_setting('data_directory'), pg_relation_filepath(c.oid),
       current_setting('block_size')::int
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass(%s) and c.relkind = 'r'
"""

_BTREES = """
select n.nspname, t.relname, i.relname, i.oid
from pg_index x
join pg_class i on i.oid = x.indexrelid and i.relpersistence = 'p'
join pg_am a on a.oid = i.relam and a.amname = 'btree'
join pg_class t on t.oid = x.indrelid and t.relkind = 'r'
join pg_namespace n on n.oid = t.relnamespace
where x.indisvalid and x.indisready and x.indpred is null
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and pg_relation_size(t.oid) > 0
order by abs(pg_relation_size(t.oid) - 65536), i.oid
"""

_OTHER_INDEXES = """
select i.oid
from pg_index x
join pg_class i on i.oid = x.indexrelid
join pg_am a on a.oid = i.relam and a.amname <> 'btree'
where x.indrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) and x.indisready
"""

_COLUMNS = """
select attname from pg_attribute
where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))
  and attnum > 0 and not attisdropped and attgenerated = ''
order by attnum
"""

_SOME = sql.SQL("ctid = any(array(select ctid from only {table} limit 50))")
"""Enough for amcheck, whose filter (a Bloom filter) misses a single row now and then."""
_EVERY_FIFTH = sql.SQL("mod(abs(hashtext(ctid::text)::bigint), 5) = 0")
"""Costs recall about 0.2, four times what is tolerated."""


class RestoredDamage:
    """Implements `kb_dr.ports.RestoreDamager`."""

    def drop_rows(self, server: RestoredServer, source: Source, tables: Sequence[str]) -> Harm:
        """Shorten the table's file. How long it is, unlike what stands in it, a server that
        replays asks anew each time: pages it still has in memory are out of reach as well. One
        that is open would write changed pages back: they are written before.
        """
        with _session(server, source, "drop rows") as session:
            session.execute("checkpoint")
            for name in tables:
                row = session.execute(_FILE, [name]).fetchone()
                if row is None or row[3] is None:
                    continue
                schema, table, directory, path, block_bytes = row
                file = Path(directory) / path
                before = _count(session, schema, table)
                blocks = file.stat().st_size // block_bytes
                for kept in (blocks // 2, 0):
                    os.truncate(file, kept * block_bytes)
                    after = _count(session, schema, table)
                    if after < before:
                        gone = f"{before - after} of {before} rows of {name} are gone"
                        return Harm(f"{gone}: {path} was cut to {kept} of {blocks} blocks", name)
        raise NotProven("drop rows: no recorded table has any")

    def make_index_stale(self, server: RestoredServer, source: Source) -> Harm:
        with _session(server, source, "make an index stale") as session:
            _require_amcheck(session)
            for schema, table, index, oid in session.execute(_BTREES).fetchall():
                moved = _move(session, schema, table, _SOME, [oid])
                if moved:
                    return Harm(f"{moved} rows of {schema}.{table} are not in {index}", index)
        raise NotProven("make an index stale: no B-tree of a table with rows")

    def make_vector_index_stale(self, server: RestoredServer, source: Source) -> Harm:
        with _session(server, source, "make a vector index stale") as session:
            standing = {(f"{v.schema}.{v.table}", v.index): v for v in vector_indexes(session)}
            for baseline in source.vectors:
                found = standing.get((baseline.table, baseline.index))
                if found is None or not baseline.queries:
                    continue
                # All but its B-trees: another vector index would take hours to be told.
                others = session.execute(_OTHER_INDEXES, [found.schema, found.table]).fetchall()
                oids = [row[0] for row in others]
                moved = _move(session, found.schema, found.table, _EVERY_FIFTH, oids)
                if moved:
                    return Harm(
                        f"{moved} rows of {baseline.table} are not in {baseline.index}",
                        baseline.index,
                    )
        raise NotProven("make a vector index stale: no vector index of a table with rows")


@contextmanager
def _session(server: RestoredServer, source: Source, what: str) -> Iterator[Session]:
    with translated(f"{what} in the restored server"):
        session: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            server.conninfo(source.database),
            autocommit=True,
            connect_timeout=30,
            application_name="kb-dr",
        )
        try:
            seen = session.execute(_SCRATCH).fetchone()
            if seen != _OURS:
                raise PostgresError(f"{what}: this is no scratch server: {seen}, expected {_OURS}")
            for name, value in _OPTIONS.items():
                session.execute("select set_config(%s, %s, false)", [name, value])
            yield session
        finally:
            session.close()


def _require_amcheck(session: Session) -> None:
    found = session.execute("select 1 from pg_available_extensions where name = 'amcheck'")
    if found.fetchone() is None:
        raise NotProven("make an index stale: amcheck is not installed on this host")


def _count(session: Session, schema: str, table: str) -> int:
    statement = sql.SQL("select count(*) from only {}").format(sql.Identifier(schema, table))
    row = session.execute(statement).fetchone()
    if row is None:
        raise PostgresError(f"count {schema}.{table}: no answer")
    return int(row[0])


def _move(session: Session, schema: str, table: str, which: sql.SQL, untold: Sequence[int]) -> int:
    """Delete rows and insert them again, while some indexes believe that they are not yet ready
    for rows; return how many. The rows are the same, and lie elsewhere.
    """
    name = sql.Identifier(schema, table)
    columns = sql.SQL(", ").join(
        sql.Identifier(row[0]) for row in session.execute(_COLUMNS, [schema, table])
    )
    statement = sql.SQL(
        "with gone as (delete from only {table} where {which} returning {columns})"
        " insert into {table} ({columns}) overriding system value select {columns} from gone"
    ).format(table=name, which=which.format(table=name), columns=columns)
    _set_ready(session, untold, ready=False)
    try:
        return session.execute(statement).rowcount
    finally:
        _set_ready(session, untold, ready=True)


def _set_ready(session: Session, indexes: Sequence[int], *, ready: bool) -> None:
    session.execute(
        "update pg_index set indisready = %s where indexrelid = any(%s::oid[])",
        [ready, list(indexes)],
    )
