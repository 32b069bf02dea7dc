"""How well a pgvector index answers, measured the same way at the source and after a restore."""

from dataclasses import dataclass

from psycopg import sql
from psycopg.pq import TransactionStatus

from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.manifest import VectorBaseline

QUERIES = 100
"""At least so many stored vectors are searched for, or all of them when there are fewer."""

_NEIGHBOURS = 10

# pgvector's operator classes, by their last words: sql/vector.sql.
_OPERATORS = {"l2_ops": "<->", "ip_ops": "<#>", "cosine_ops": "<=>", "l1_ops": "<+>"}

_INDEXES = """
select n.nspname, t.relname, a.attname, i.relname, o.opcname, ext.nspname, a.atttypmod
from pg_catalog.pg_index x
join pg_catalog.pg_class i on i.oid = x.indexrelid
join pg_catalog.pg_am am on am.oid = i.relam and am.amname in ('hnsw', 'ivfflat')
join pg_catalog.pg_class t on t.oid = x.indrelid and t.relpersistence = 'p'
join pg_catalog.pg_namespace n on n.oid = t.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = x.indkey[0]
join pg_catalog.pg_opclass o on o.oid = x.indclass[0]
join pg_catalog.pg_namespace ext on ext.oid = o.opcnamespace
where x.indisvalid and x.indpred is null and x.indkey[0] > 0 and o.opcname !~ '^(bit|sparsevec)'
order by 1, 2, 4
"""


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """One HNSW or IVFFlat index over a whole column."""

    schema: str
    table: str
    column: str
    index: str
    operator: str
    operator_schema: str
    dimensions: int


def vector_indexes(session: Session) -> tuple[VectorIndex, ...]:
    """Every valid vector index whose answers can be measured (expression and partial ones not)."""
    found = []
    for schema, table, column, index, opclass, home, dimensions in session.execute(_INDEXES):
        operator = next(
            (sign for words, sign in _OPERATORS.items() if opclass.endswith(words)), None
        )
        if operator is not None:
            found.append(VectorIndex(schema, table, column, index, operator, home, dimensions))
    return tuple(found)


def measure_recall(session: Session, index: VectorIndex, *, seed: str) -> VectorBaseline:
    """Recall@10 of the index against exact search, for stored vectors chosen by ``seed``.

    A neighbour counts when it is as near as the exact search's farthest, so that equal vectors
    do not count as misses. When the planner cannot use the index, recall is 0: the index is of
    no use to anybody then. Of an empty table it is 1, over 0 queries. A caller that opened a
    transaction has frozen its snapshot already: that one is asked.
    """
    hits = wanted = 0
    used = True
    frozen = session.info.transaction_status is TransactionStatus.INTRANS
    # Rolled back, so that the planner of an outer transaction is steered by nobody afterwards.
    with session.transaction(force_rollback=True):
        if not frozen:
            session.execute("set transaction isolation level repeatable read, read only")
        vectors = _stored_vectors(session, index, seed)
        for vector in vectors:
            exact = _distances(session, index, vector, exact=True)
            used = used and _uses_index(session, index, vector)
            near = _distances(session, index, vector, exact=False) if used else []
            if exact:
                limit = exact[-1] + abs(exact[-1]) * 1e-6 + 1e-9
                hits += min(sum(1 for distance in near if distance <= limit), len(exact))
                wanted += len(exact)
    return VectorBaseline(
        table=f"{index.schema}.{index.table}",
        column=index.column,
        index=index.index,
        dimensions=index.dimensions,
        recall_at_10=hits / wanted if wanted else 1.0,
        queries=len(vectors),
    )


def _stored_vectors(session: Session, index: VectorIndex, seed: str) -> list[str]:
    """Chosen by content: the same rows give the same ones, wherever they lie."""
    # Values are literals: beside parameters psycopg would read a % in a column's name as one.
    statement = sql.SQL(
        "select {column}::text from {table} where {column} is not null"
        " order by md5({seed} || {column}::text) limit {rows}"
    ).format(
        column=sql.Identifier(index.column),
        table=sql.Identifier(index.schema, index.table),
        seed=sql.Literal(seed),
        rows=sql.Literal(QUERIES),
    )
    return [row[0] for row in session.execute(statement)]


def _distances(session: Session, index: VectorIndex, vector: str, *, exact: bool) -> list[float]:
    _prefer(session, exact=exact)
    statement = sql.SQL("select {distance} from {table} order by {distance} limit {rows}").format(
        distance=_distance(index, vector),
        table=sql.Identifier(index.schema, index.table),
        rows=sql.Literal(_NEIGHBOURS),
    )
    # NULL: a row without a vector, which an index does not hold.
    return [float(row[0]) for row in session.execute(statement) if row[0] is not None]


def _uses_index(session: Session, index: VectorIndex, vector: str) -> bool:
    _prefer(session, exact=False)
    statement = sql.SQL("explain (costs off) select 1 from {} order by {} limit {}").format(
        sql.Identifier(index.schema, index.table),
        _distance(index, vector),
        sql.Literal(_NEIGHBOURS),
    )
    plan = "\n".join(row[0] for row in session.execute(statement))
    quoted = sql.Identifier(index.index).as_string(session)
    return f"using {index.index} on" in plan or f"using {quoted} on" in plan


def _distance(index: VectorIndex, vector: str) -> sql.Composed:
    return sql.SQL("{column} operator({schema}.{sign}) {vector}").format(
        column=sql.Identifier(index.column),
        schema=sql.Identifier(index.operator_schema),
        sign=sql.SQL(index.operator),
        vector=sql.Literal(vector),
    )


def _prefer(session: Session, *, exact: bool) -> None:
    """Steer the planner within this transaction: to a scan of all rows, or to the index."""
    for name in ("enable_indexscan", "enable_bitmapscan", "enable_indexonlyscan"):
        session.execute("select set_config(%s, %s, true)", (name, "off" if exact else "on"))
    session.execute("select set_config('enable_seqscan', %s, true)", ("on" if exact else "off",))
