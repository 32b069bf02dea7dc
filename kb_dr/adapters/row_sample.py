"""Counts and samples of tables: the same questions at the source and at a restored cluster."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.fingerprint import SAMPLED_ROWS, SampledRow, TableFingerprint, row_digest

_TABLES = """
select n.nspname, c.relname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_catalog.pg_depend d
                  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    and d.objid = c.oid and d.deptype = 'e')
order by 1, 2
"""

_COLUMNS = """
select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), coalesce(k.place, 0)
from pg_catalog.pg_attribute a
left join (
    select i.indrelid, key.attnum, key.place
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::pg_catalog.int2[]) with ordinality as key(attnum, place)
    where i.indisprimary
) k on k.indrelid = a.attrelid and k.attnum = a.attnum
where a.attrelid = %s::pg_catalog.regclass and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""


@dataclass(frozen=True, slots=True)
class TableShape:
    """What must be known of a table to sample it."""

    schema: str
    name: str
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    """In the order of the primary key; empty without one."""
    key_types: tuple[str, ...]

    @property
    def table(self) -> str:
        """Schema-qualified, as fingerprints name it."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.schema, self.name)


def user_tables(session: Session) -> tuple[str, ...]:
    """Every permanent table of the users', schema-qualified. Unlogged ones are empty after any
    recovery, and are not backed up in that sense."""
    return tuple(f"{schema}.{name}" for schema, name in session.execute(_TABLES))


def table_shape(session: Session, table: str) -> TableShape | None:
    """The columns and key of ``schema.name``, or of ``name`` in public; None when there is no
    such table. Names are as stored, without quotes.
    """
    for schema, name in _readings(table):
        quoted = sql.Identifier(schema, name).as_string(session)
        found = session.execute("select pg_catalog.to_regclass(%s) is not null", (quoted,))
        if found.fetchone() == (True,):
            return _shape(session, schema, name, quoted)
    return None


def _readings(table: str) -> Iterator[tuple[str, str]]:
    """What a qualified name may mean: either part may have a dot of its own."""
    parts = table.split(".")
    for place in range(1, len(parts)):
        yield ".".join(parts[:place]), ".".join(parts[place:])
    yield "public", table


def _shape(session: Session, schema: str, name: str, quoted: str) -> TableShape:
    rows = session.execute(_COLUMNS, (quoted,)).fetchall()
    key = sorted((row for row in rows if row[2]), key=lambda row: int(row[2]))
    return TableShape(
        schema=schema,
        name=name,
        columns=tuple(row[0] for row in rows),
        key_columns=tuple(row[0] for row in key),
        key_types=tuple(row[1] for row in key),
    )


def count_rows(session: Session, shape: TableShape) -> int:
    """The exact number of rows."""
    row = session.execute(sql.SQL("select count(*) from {}").format(shape.identifier)).fetchone()
    assert row is not None
    return int(row[0])


def sample_keys(session: Session, shape: TableShape, seed: str, rows: int) -> tuple[str, ...]:
    """The keys of ``rows`` rows, spread over the table; the same for the same seed and rows."""
    if not shape.key_columns:
        return ()
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big", signed=True)
    keys = sql.SQL(", ").join(_text(sql.Identifier(name)) for name in shape.key_columns)
    statement = sql.SQL(
        "select {keys} from {table}"
        " order by pg_catalog.hashtextextended(pg_catalog.concat_ws('/', {keys}), {number}), {keys}"
        " limit {rows}"
    ).format(keys=keys, table=shape.identifier, number=sql.Literal(number), rows=sql.Literal(rows))
    return tuple(_key(row) for row in session.execute(statement))


# Values go in as literals: beside parameters psycopg would read a % in a column's name as one.


def rows_by_key(session: Session, shape: TableShape, keys: Sequence[str]) -> dict[str, str]:
    """The digests of the rows with these keys; one that is not there is left out.

    Raises psycopg's errors when a key does not fit the table any more.
    """
    if not keys or not shape.key_columns:
        return {}
    parts = list(zip(*(json.loads(key) for key in keys), strict=True))
    names = [sql.Identifier(f"k{number}") for number in range(len(parts))]
    asked = sql.SQL(", ").join(
        sql.SQL("pg_catalog.unnest({}::text[])::{} as {}").format(
            sql.Literal(list(part)), sql.SQL(kind), name
        )
        for part, kind, name in zip(parts, shape.key_types, names, strict=True)
    )
    joined = sql.SQL(" and ").join(
        sql.SQL("t.{} = asked.{}").format(sql.Identifier(column), name)
        for column, name in zip(shape.key_columns, names, strict=True)
    )
    wanted = sql.SQL(", ").join(
        _text(sql.Identifier("t", column)) for column in (*shape.key_columns, *shape.columns)
    )
    statement = sql.SQL("select {} from (select {}) asked join {} t on {}").format(
        wanted, asked, shape.identifier, joined
    )
    width = len(shape.key_columns)
    found = {}
    for row in session.execute(statement):
        found[_key(row[:width])] = row_digest(row[width:])
    return found


def look(
    session: Session, shape: TableShape, keys: Sequence[str], *, counted: bool = True
) -> TableFingerprint:
    """What one table holds now: its count, and the rows of these keys that are there."""
    found = rows_by_key(session, shape, keys)
    return TableFingerprint(
        table=shape.table,
        rows=count_rows(session, shape) if counted else None,
        key_columns=shape.key_columns,
        columns=shape.columns,
        sample=tuple(SampledRow(key, found[key]) for key in keys if key in found),
    )


def sample_size() -> int:
    """More than promised, so that rows which move between the two looks may be dropped."""
    return SAMPLED_ROWS + SAMPLED_ROWS // 5


def _key(values: Sequence[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))


def _text(identifier: sql.Identifier) -> sql.Composed:
    return sql.SQL("{}::pg_catalog.text").format(identifier)


def rows_ordered_by(
    session: Session, schema: str, table: str, column: str, *, seed: str, rows: int
) -> list[str]:
    """Text forms of one column of ``rows`` rows, chosen by content and seed; NULLs left out."""
    statement = sql.SQL(
        "select {value} from {table} where {column} is not null"
        " order by pg_catalog.md5(pg_catalog.concat({seed}::text, {value})) limit {rows}"
    ).format(
        seed=sql.Literal(seed),
        rows=sql.Literal(rows),
        value=_text(sql.Identifier(column)),
        column=sql.Identifier(column),
        table=sql.Identifier(schema, table),
    )
    return [row[0] for row in session.execute(statement)]
