"""What a database has from its cluster, and no dump of it brings along: one takes it over from
another, so that those who connect find what they had.
"""

import re
from collections.abc import Iterator

from psycopg import sql

from kb_dr.adapters.postgres_session import Session

_PROPERTIES = """
select pg_catalog.pg_get_userbyid(datdba)::text, datconnlimit, datacl is not null
from pg_catalog.pg_database where datname = %s
"""
_GRANTS = """
select case when a.grantee = 0 then null else pg_catalog.pg_get_userbyid(a.grantee)::text end,
       a.privilege_type, a.is_grantable
from pg_catalog.pg_database d cross join lateral pg_catalog.aclexplode(d.datacl) a
where d.datname = %s and a.grantee <> d.datdba
order by 1, 2
"""
_SETTINGS = """
select r.rolname::text, c.setting
from pg_catalog.pg_db_role_setting s
join pg_catalog.pg_database d on d.oid = s.setdatabase
left join pg_catalog.pg_roles r on r.oid = s.setrole
cross join lateral unnest(s.setconfig) with ordinality as c(setting, place)
where d.datname = %s
order by s.setrole, c.place
"""

_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
"""Their values are kept as lists of quoted names (GUC_LIST_QUOTE; PostgreSQL,
src/bin/pg_dump/dumputils.c, variableIsGucListQuote)."""
_OF_LIST = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]+?))\s*(?:,|\Z)')


def take_over(asked: Session, *, old: str, new: str) -> None:
    """Give ``new`` owner, connection limit, grants and settings of ``old``."""
    properties = asked.execute(_PROPERTIES, [old]).fetchone()
    if properties is None:
        return
    owner, limit, granted = properties
    database = sql.Identifier(new)
    asked.execute(sql.SQL("alter database {} owner to {}").format(database, sql.Identifier(owner)))
    asked.execute(
        sql.SQL("alter database {} with connection limit {}").format(database, sql.Literal(limit))
    )
    if granted:
        asked.execute(sql.SQL("revoke all on database {} from public").format(database))
    for role, privilege, passed_on in asked.execute(_GRANTS, [old]).fetchall():
        asked.execute(
            sql.SQL("grant {} on database {} to {} {}").format(
                sql.SQL(privilege),
                database,
                sql.SQL("public") if role is None else sql.Identifier(role),
                sql.SQL("with grant option" if passed_on else ""),
            )
        )
    for role, setting in asked.execute(_SETTINGS, [old]).fetchall():
        name, _, value = setting.partition("=")
        whose = sql.SQL("database {}").format(database)
        if role is not None:
            whose = sql.SQL("role {} in database {}").format(sql.Identifier(role), database)
        asked.execute(
            sql.SQL("alter {} set {} to {}").format(
                whose,
                # One of an extension has two parts.
                sql.SQL(".").join(map(sql.Identifier, name.split("."))),
                sql.SQL(", ").join(map(sql.Literal, _values(name, value))),
            )
        )


def _values(name: str, value: str) -> Iterator[str]:
    if name.lower() not in _LISTS or not value.strip():
        yield value
        return
    for found in _OF_LIST.finditer(value):
        yield found[1].replace('""', '"') if found[1] is not None else found[2]
