"""What stands in a database, under the names pg_dump gives it in an archive."""

from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.inspection import Relation

# Tags as pg_dump makes them: of what belongs to a table, the table and its own name
# (src/bin/pg_dump/pg_dump.c, dumpIndex, dumpConstraint, dumpTrigger).
_RELATIONS = """
select case c.relkind when 'r' then 'TABLE' when 'p' then 'TABLE' when 'S' then 'SEQUENCE'
            when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'f' then 'FOREIGN TABLE'
            else 'INDEX' end,
       n.nspname, c.relname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'S', 'v', 'm', 'f', 'i', 'I')
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all
select case k.contype when 'f' then 'FK CONSTRAINT' else 'CONSTRAINT' end,
       n.nspname, c.relname || ' ' || k.conname
from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where k.contype in ('p', 'u', 'x', 'f')
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all
select 'TRIGGER', n.nspname, c.relname || ' ' || t.tgname
from pg_catalog.pg_trigger t
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""


def standing_relations(session: Session) -> frozenset[Relation]:
    """Everything of the kinds in RELATION_KINDS, extensions' own things included."""
    return frozenset(
        Relation(kind, schema, name) for kind, schema, name in session.execute(_RELATIONS)
    )


def large_objects(session: Session) -> int:
    """How many large objects there are."""
    row = session.execute("select count(*) from pg_catalog.pg_largeobject_metadata").fetchone()
    return int(row[0]) if row else 0
