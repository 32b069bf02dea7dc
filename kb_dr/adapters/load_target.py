"""Marks on databases, and roles, over psycopg."""

from collections.abc import Sequence

from psycopg import errors, sql

from kb_dr.adapters.database_server import PostgresDatabases
from kb_dr.adapters.postgres_session import what_was_seen
from kb_dr.domain.database_mark import DatabaseMark
from kb_dr.errors import TargetLacks

_MARKS = """
select d.datname::text, pg_catalog.shobj_description(d.oid, 'pg_database')
from pg_catalog.pg_database d
"""


class PostgresLoadTarget(PostgresDatabases):
    """Implements `kb_dr.ports.LoadTarget`."""

    def mark(self, database: str, mark: DatabaseMark) -> None:
        with self._beside() as asked:
            asked.execute(
                sql.SQL("comment on database {} is {}").format(
                    sql.Identifier(database), sql.Literal(mark.text())
                )
            )

    def marks(self) -> dict[str, DatabaseMark]:
        with self._beside() as asked:
            rows = asked.execute(_MARKS).fetchall()
        found = ((name, DatabaseMark.parse(text)) for name, text in rows)
        return {name: mark for name, mark in found if mark is not None}

    def create_roles(self, names: Sequence[str]) -> None:
        with self._beside() as asked:
            try:
                with asked.transaction():
                    for name in names:
                        asked.execute(
                            sql.SQL("create role {} nologin").format(sql.Identifier(name))
                        )
            except errors.InsufficientPrivilege as error:
                raise TargetLacks(
                    f"create roles {', '.join(names)}: {what_was_seen(error)}",
                    hint="Nothing was changed. Create them as a superuser, or restore with "
                    "--no-owners --no-grants.",
                ) from error
