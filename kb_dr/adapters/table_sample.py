"""Counts and samples of tables: the same statements at the source and on what was restored.

The sample is the rows whose keys have the smallest seeded hashes (quick_choice), and that of a
dump the ones with the smallest seeded digests: any two looks at the same rows choose the same
sample, whatever the order of the rows on disk, and no key leaves the server in the clear. Errors
of psycopg pass through; the adapter that calls translates them.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from kb_dr.adapters.quick_choice import COUNTED, Choice, choose_again, choose_rows
from kb_dr.domain.fingerprint import (
    SAMPLED_ROWS,
    Look,
    SampledRow,
    TableFingerprint,
    row_digest,
)

_TAKEN_ROWS = SAMPLED_ROWS + SAMPLED_ROWS // 4
"""More than are promised: rows that change between the two looks drop out."""

_SETTINGS = {
    # Text forms depend on these; roles and databases may set them differently.
    "bytea_output": "hex",
    "DateStyle": "ISO, YMD",
    "extra_float_digits": "1",
    "IntervalStyle": "postgres",
    "lc_monetary": "C",
    "search_path": "",
    "TimeZone": "UTC",
    # A policy that hides rows must be an error, never a smaller count.
    "row_security": "off",
}

# One question: of many tables each is looked at in a moment.
_PIN = b"select " + b", ".join([b"pg_catalog.set_config(%s, %s, true)"] * len(_SETTINGS))

_WORD = r"""(?P<{}>[a-z_][a-z0-9_$]*|"(?:[^"]|"")+")"""
_FORM = re.compile(_WORD.format("schema") + r"\." + _WORD.format("name"), re.DOTALL)

_TABLES = """
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p'
  and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
  and (n.nspname, c.relname) <> ('kb_dr', 'heartbeat')
order by n.nspname collate "C", c.relname collate "C"
"""

_OF_EXTENSIONS = """
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_depend d
join pg_catalog.pg_class c on c.oid = d.objid and c.relkind = 'r'
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where d.classid = 'pg_catalog.pg_class'::regclass and d.deptype = 'e'
"""

_COLUMNS = """
select a.attname
from pg_catalog.pg_attribute a
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""

_KEY_COLUMNS = """
select a.attname
from pg_catalog.pg_index i
cross join lateral unnest(i.indkey) with ordinality as k(attnum, place)
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = %s and i.indisprimary and k.place <= i.indnkeyatts
order by k.place
"""

_COUNT = "select {counted} from only {table} t"

_KEY_DIGEST = """
pg_catalog.sha256(pg_catalog.convert_to(
    {seed}::text || pg_catalog.json_build_array({key})::text,
    pg_catalog.getdatabaseencoding()))
"""

_CHOSEN = """
select {digest}, {columns} from only {table} t where t.ctid = any({places}::pg_catalog.tid[])
"""

# Keys are sorted first and the chosen rows read after: else the text of every row is made.
_SAMPLE = """
select chosen.digest, {columns}
from (select {digest} as digest, t.ctid as place from only {table} t {limit}) chosen
join only {table} t on t.ctid = chosen.place
"""


def list_tables(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """Every ordinary table of this database, schema-qualified, partitions included.

    Left out: unlogged and temporary tables, which no physical backup holds, and the heartbeat,
    which never stands still.
    """
    with pinned_settings(connection):
        found = connection.execute(_TABLES).fetchall()
    return tuple(row[0] for row in found)


def extension_tables(connection: psycopg.Connection[Any]) -> frozenset[str]:
    """Tables that come with an extension, named as list_tables() does: no dump holds them whole."""
    found = connection.execute(_OF_EXTENSIONS).fetchall()
    return frozenset(row[0] for row in found)


def critical_tables(
    connection: psycopg.Connection[Any], wanted: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tables to look at, and the ones of ``wanted`` that do not exist.

    ``wanted`` is what the operator wrote, with or without a schema, resolved by the role's own
    search path; empty means every table. A partitioned table stands for its partitions.
    """
    if not wanted:
        return list_tables(connection), ()
    tables: dict[str, None] = {}
    unknown = []
    for name in wanted:
        found = connection.execute(
            """
            select pg_catalog.format('%%I.%%I', n.nspname, c.relname)
            from pg_catalog.pg_class root
            cross join lateral (
                select root.oid as relid where root.relkind = 'r'
                union all
                select t.relid from pg_catalog.pg_partition_tree(root.oid) t where t.isleaf
            ) member
            join pg_catalog.pg_class c on c.oid = member.relid and c.relkind = 'r'
                and c.relpersistence = 'p'
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                and (n.nspname, c.relname) <> ('kb_dr', 'heartbeat')
            where root.oid = pg_catalog.to_regclass(%s) and root.relkind in ('r', 'p')
            order by 1
            """,
            [name],
        ).fetchall()
        if not found:
            unknown.append(name)
        tables.update(dict.fromkeys(row[0] for row in found))
    return tuple(tables), tuple(unknown)


def fingerprint_table(
    connection: psycopg.Connection[Any], table: str, seed: str, *, lasting: bool = False
) -> TableFingerprint:
    """Count one table and sample its rows, in one snapshot.

    ``table`` is a name as list_tables() returns it; ``seed`` is the name of the restore point,
    which a proof reads back from the manifest. ``lasting``: the sample can be found again in
    another server that the rows were loaded into, at more cost. The connection must be in
    autocommit mode, with no transaction open or with a repeatable read one. A table without a
    primary key is counted, and its sample is empty.
    """
    with pinned_settings(connection):
        oid = _oid(connection, table)
        columns = _names(connection, _COLUMNS, oid)
        keys = _names(connection, _KEY_COLUMNS, oid)
        through = None
        if lasting or not keys:
            limit = sql.SQL("order by 1 limit {}").format(_TAKEN_ROWS)
            look = _look(connection, table, columns, keys, seed, limit)
        else:
            choice = choose_rows(connection, _name(table), keys, seed, SAMPLED_ROWS, _TAKEN_ROWS)
            look, through = _read(connection, table, columns, keys, seed, choice), choice.through
    return TableFingerprint(
        table=table,
        rows=look.rows,
        key_columns=keys,
        columns=columns,
        sample=tuple(SampledRow(key, digest) for key, digest in sorted(look.digests.items())),
        row_versions=look.row_versions,
        sampled_through=through,
    )


def look_up_rows(
    connection: psycopg.Connection[Any], recorded: TableFingerprint, seed: str
) -> Look | None:
    """The rows of the recorded sample as they are now; None when the table is not there.

    Every row is read whose key's hash is not above ``sampled_through``, or where none is recorded
    its digest not above the recorded sample's greatest: rows that came in between push none of
    the recorded ones out. A recorded column that is not there raises
    psycopg.errors.UndefinedColumn.
    """
    with pinned_settings(connection):
        if _find(connection, recorded.table) is None:
            return None
        keys = recorded.key_columns if recorded.sample else ()
        if keys and recorded.sampled_through is not None:
            through = recorded.sampled_through
            choice = choose_again(connection, _name(recorded.table), keys, seed, through)
            return _read(connection, recorded.table, recorded.columns, keys, seed, choice)
        greatest = max((row.key for row in recorded.sample), default="")
        limit = sql.SQL("where {} <= {}").format(
            _key_digest(keys, seed), sql.Literal(bytes.fromhex(greatest))
        )
        return _look(connection, recorded.table, recorded.columns, keys, seed, limit)


@contextmanager
def pinned_settings(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """One read-only snapshot, with every setting fixed that changes what values look like.

    A caller that opened a transaction has frozen its snapshot already: that one is looked at, and
    locks taken for the look go with it. Else a migration would wait for this session, and the next
    look, of another session, for the migration.
    """
    frozen = connection.info.transaction_status is TransactionStatus.INTRANS
    with connection.transaction(force_rollback=frozen):
        if not frozen:
            connection.execute("set transaction isolation level repeatable read read only")
        connection.execute(_PIN, [each for pair in _SETTINGS.items() for each in pair])
        yield


def _look(
    connection: psycopg.Connection[Any],
    table: str,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    seed: str,
    limit: sql.Composable,
) -> Look:
    name = _name(table)
    counted = connection.execute(
        sql.SQL(_COUNT).format(counted=sql.SQL(COUNTED), table=name)
    ).fetchone()
    if counted is None:  # an aggregate returns one row
        raise psycopg.InternalError(f"count {table}: no answer")
    digests: dict[str, str] = {}
    if keys and columns:
        statement = sql.SQL(_SAMPLE).format(
            columns=_texts(columns), digest=_key_digest(keys, seed), table=name, limit=limit
        )
        digests = _digests(connection, statement)
    return Look(rows=counted[0], row_versions=counted[1], digests=digests)


def _read(
    connection: psycopg.Connection[Any],
    table: str,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    seed: str,
    choice: Choice,
) -> Look:
    """The digests of the rows that were chosen, in the snapshot they were chosen in."""
    digests: dict[str, str] = {}
    if choice.places:
        statement = sql.SQL(_CHOSEN).format(
            columns=_texts(columns),
            digest=_key_digest(keys, seed),
            table=_name(table),
            places=sql.Literal(list(choice.places)),
        )
        digests = _digests(connection, statement)
    return Look(rows=choice.rows, row_versions=choice.row_versions, digests=digests)


def _digests(connection: psycopg.Connection[Any], statement: sql.Composed) -> dict[str, str]:
    """Key digest to row digest."""
    with connection.cursor() as cursor:
        # One row at a time: a row may be large.
        return {
            bytes(digest).hex(): row_digest(tuple(texts))
            for digest, *texts in cursor.stream(statement)
        }


def _key_digest(keys: tuple[str, ...], seed: str) -> sql.Composed:
    # A literal: a statement with parameters would take a % in a column's name for one.
    return sql.SQL(_KEY_DIGEST).format(key=_texts(keys), seed=sql.Literal(seed))


def _texts(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(c)) for c in columns)


def _name(table: str) -> sql.Identifier:
    """The name taken apart and quoted anew: a manifest's text is never run as a statement."""
    match = _FORM.fullmatch(table)
    if match is None:
        raise psycopg.errors.UndefinedTable(f"not the name of a table: {table}")
    return sql.Identifier(*(_bare(match[part]) for part in ("schema", "name")))


def _bare(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word


def _find(connection: psycopg.Connection[Any], table: str) -> int | None:
    found = connection.execute("select pg_catalog.to_regclass(%s)::oid", [table]).fetchone()
    return None if found is None else found[0]


def _oid(connection: psycopg.Connection[Any], table: str) -> int:
    oid = _find(connection, table)
    if oid is None:
        raise psycopg.errors.UndefinedTable(f"table {table} does not exist")
    return oid


def _names(connection: psycopg.Connection[Any], statement: str, oid: int) -> tuple[str, ...]:
    return tuple(row[0] for row in connection.execute(statement.encode(), [oid]).fetchall())
