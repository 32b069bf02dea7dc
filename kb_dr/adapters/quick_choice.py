"""Count a table and choose the rows of its sample, in one scan of it.

Making a digest of every key is what a sample costs most. Here a row is chosen by its key's quick
hash instead, PostgreSQL's own and seeded, and only the chosen rows get digests. Any two looks at
the same rows choose the same ones, whatever their order on disk.

The hash is the same wherever the same cluster is read, which is all that files restored need. Over
versions and machines PostgreSQL does not promise it: a dump's sample is not chosen so.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

ALL = 2**63 - 1
"""The greatest quick hash there is."""

# The sum changes with any row added, changed or removed: a row version is named by its place and
# by the transaction that wrote it, and both come back with a physical restore.
COUNTED = """
count(*),
coalesce(sum(pg_catalog.hashtextextended(t.ctid::text || ':' || t.xmin::text, 0)), 0)::text
"""

# One aggregate: each further one would compute the hash of every row once more.
_SCAN = """
select {counted},
       array_agg({quick}::text || ' ' || t.ctid::text) filter (where {quick} <= {through})
from only {table} t
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one scan found."""

    rows: int
    row_versions: str
    places: tuple[str, ...]
    """Where the chosen rows are, by their quick hash."""
    through: int
    """No row whose quick hash is at most that was left out, but for equal ones."""


def choose_rows(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    keys: tuple[str, ...],
    seed: str,
    needed: int,
    taken: int,
) -> Choice:
    """Count, and choose ``taken`` rows, at the least ``needed`` of them or all there are; in the
    caller's snapshot.

    How far the hashes of so many rows reach is guessed from the planner's estimate. Where that was
    far too many rows it is scanned once more by the count, which is exact; and last with no limit.
    """
    through = reach(_estimated(connection, table), taken)
    while True:
        rows, versions, found = _scan(connection, table, keys, seed, through)
        if len(found) >= min(needed, rows):
            break
        again = reach(rows, taken)
        through = again if again > through else ALL
    chosen = found[:taken]
    return Choice(
        rows,
        versions,
        tuple(place for _, place in chosen),
        chosen[-1][0] if len(found) > taken else through,
    )


def choose_again(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    keys: tuple[str, ...],
    seed: str,
    through: int,
) -> Choice:
    """Count, and choose every row whose quick hash is not above ``through``."""
    rows, versions, found = _scan(connection, table, keys, seed, through)
    return Choice(rows, versions, tuple(place for _, place in found), through)


def reach(rows: int, taken: int) -> int:
    """The quick hash below which twice ``taken`` of so many rows are found."""
    wanted = 2 * taken
    return ALL if rows <= wanted else (wanted << 64) // rows - 2**63


def _estimated(connection: psycopg.Connection[Any], table: sql.Identifier) -> int:
    # The planner knows how large the table is now, whenever it was analysed last.
    statement = sql.SQL("explain (format json) select from only {}").format(table)
    row = connection.execute(statement).fetchone()
    if row is None:
        raise psycopg.InternalError("explain: no answer")
    return int(row[0][0]["Plan"]["Plan Rows"])


def _scan(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    keys: tuple[str, ...],
    seed: str,
    through: int,
) -> tuple[int, str, list[tuple[int, str]]]:
    statement = sql.SQL(_SCAN).format(
        counted=sql.SQL(COUNTED),
        quick=_quick_hash(keys, seed),
        through=sql.Literal(through),
        table=table,
    )
    row = connection.execute(statement).fetchone()
    if row is None:  # an aggregate returns one row
        raise psycopg.InternalError("count a table: no answer")
    words = (each.split(" ", 1) for each in row[2] or ())
    return row[0], row[1], sorted((int(quick), place) for quick, place in words)


def _quick_hash(keys: tuple[str, ...], seed: str) -> sql.Composable:
    """Of all columns of a key: each is hashed with the hash of those before it as the seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big", signed=True)
    made: sql.Composable = sql.SQL("{}::bigint").format(sql.Literal(str(number)))
    for key in keys:
        # By bytes, whatever the column's own collation takes for equal.
        made = sql.SQL('pg_catalog.hashtextextended(t.{}::text collate pg_catalog."C", {})').format(
            sql.Identifier(key), made
        )
    return made
