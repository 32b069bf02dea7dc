"""Whose a database is: each service has one of its own."""

from psycopg import sql

from kb_dr.adapters.postgres_session import Session
from kb_dr.errors import CatalogError


def refuse_others(
    session: Session, owner: tuple[str, str], *, table: str = "catalog_owner"
) -> None:
    """Raise CatalogError in a database that belongs to another (service, org)."""
    if not has_table(session, table):
        return
    row = session.execute(
        sql.SQL("select service, org from {}").format(sql.Identifier(table))
    ).fetchone()
    if row is not None and row != owner:
        raise CatalogError(
            f"use the catalog: it is of service {row[0]!r} of {row[1]!r}, expected {owner[0]!r} "
            f"of {owner[1]!r}",
            hint="Give each service a database of its own: each would remove the other's rows.",
        )


def claim(session: Session, owner: tuple[str, str], *, table: str = "catalog_owner") -> None:
    """Say whose it is, unless that is said already."""
    if not has_table(session, table):
        named = sql.Identifier(table)
        session.execute(
            sql.SQL(
                "create table {} (id smallint primary key default 1 check (id = 1),"
                " service text not null, org text not null)"
            ).format(named)
        )
        session.execute(
            sql.SQL("insert into {} (service, org) values (%s, %s)").format(named), owner
        )


def has_table(session: Session, table: str) -> bool:
    """Whether the schema of the session holds a table of that name."""
    row = session.execute(
        "select exists (select from pg_class where relname = %s and relkind in ('r', 'p')"
        " and relnamespace = current_schema()::regnamespace)",
        (table,),
    ).fetchone()
    return row == (True,)
