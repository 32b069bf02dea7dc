"""Marks, roles and inherited properties of databases, over psycopg."""

from collections.abc import Sequence

import psycopg
from psycopg import errors, sql

from kb_dr.adapters.database_server import PostgresDatabases
from kb_dr.adapters.postgres_session import Session, what_was_seen
from kb_dr.domain.database_mark import DatabaseMark
from kb_dr.errors import TargetLacks

_MARKS = """
select d.datname::text, pg_catalog.shobj_description(d.oid, 'pg_database')
from pg_catalog.pg_database d
"""

_PROPERTIES = """
select pg_catalog.pg_get_userbyid(d.datdba)::text, d.datconnlimit, d.datacl is not null
from pg_catalog.pg_database d where d.datname = %s
"""
_GRANTS = """
select a.privilege_type, case a.grantee when 0 then null
       else pg_catalog.pg_get_userbyid(a.grantee)::text end, a.is_grantable
from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a where d.datname = %s
"""
_SETTINGS = """
select case s.setrole when 0 then null else pg_catalog.pg_get_userbyid(s.setrole)::text end,
       c.setting
from pg_catalog.pg_db_role_setting s join pg_catalog.pg_database d on d.oid = s.setdatabase,
     unnest(s.setconfig) c(setting)
where d.datname = %s
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

    def inherit(self, old: str, new: str) -> tuple[str, ...]:
        notes: list[str] = []
        with self._beside(old, new) as asked:
            row = asked.execute(_PROPERTIES, [old]).fetchone()
            if row is None:
                return ()
            owner, limit, granted = row
            name = sql.Identifier(new)
            if granted:
                _grant(asked, old, name, notes)
            _settings(asked, old, name, notes)
            _try(
                asked,
                sql.SQL("alter database {} connection limit {}").format(name, sql.Literal(limit)),
                "its connection limit",
                notes,
            )
            # The owner last: who is none any more may change nothing of it.
            _try(
                asked,
                sql.SQL("alter database {} owner to {}").format(name, sql.Identifier(owner)),
                f"its owner {owner}",
                notes,
            )
        return tuple(notes)


def _grant(asked: Session, old: str, name: sql.Identifier, notes: list[str]) -> None:
    _try(asked, sql.SQL("revoke all on database {} from public").format(name), "grants", notes)
    for privilege, grantee, grantable in asked.execute(_GRANTS, [old]).fetchall():
        _try(
            asked,
            sql.SQL("grant {} on database {} to {}{}").format(
                sql.SQL(privilege),
                name,
                sql.SQL("public") if grantee is None else sql.Identifier(grantee),
                sql.SQL(" with grant option" if grantable else ""),
            ),
            f"{privilege} of {grantee or 'everybody'}",
            notes,
        )


def _settings(asked: Session, old: str, name: sql.Identifier, notes: list[str]) -> None:
    for role, setting in asked.execute(_SETTINGS, [old]).fetchall():
        parameter, _, value = setting.partition("=")
        words = sql.SQL("alter database {} set {} from current").format(
            name, sql.Identifier(*parameter.split("."))
        )
        if role is not None:
            words = sql.SQL("alter role {} in database {} set {} from current").format(
                sql.Identifier(role), name, sql.Identifier(*parameter.split("."))
            )
        try:
            with asked.transaction():
                # As it stands there: a list such as search_path is not to be quoted as one word.
                asked.execute("select pg_catalog.set_config(%s, %s, true)", [parameter, value])
                asked.execute(words)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            notes.append(f"not given to it: setting {parameter}: {what_was_seen(error)}")


def _try(asked: Session, statement: sql.Composed, what: str, notes: list[str]) -> None:
    try:
        with asked.transaction():
            asked.execute(statement)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        notes.append(f"not given to it: {what}: {what_was_seen(error)}")
