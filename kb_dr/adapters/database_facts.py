"""What a dump must know of one database besides its tables, asked in one snapshot."""

from typing import Any

from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.dump import DatabaseShape, SnapshotPlace
from kb_dr.domain.lsn import Lsn
from kb_dr.errors import PostgresError

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}

# The bootstrap superuser, OID 10, is pinned: pg_shdepend never names it, whatever it owns.
_ROLES = """
select r.rolname from pg_catalog.pg_roles r
where r.oid in (
    select d.refobjid from pg_catalog.pg_shdepend d
    where d.refclassid = 'pg_catalog.pg_authid'::regclass
      and (d.dbid = (select oid from pg_catalog.pg_database where datname = current_database())
           or (d.dbid = 0 and d.classid = 'pg_catalog.pg_database'::regclass and d.objid =
               (select oid from pg_catalog.pg_database where datname = current_database())))
    union
    select datdba from pg_catalog.pg_database where datname = current_database()
    union
    select 10 where exists (
        select from pg_catalog.pg_class where relowner = 10 and oid >= 16384
        union all
        select from pg_catalog.pg_namespace where nspowner = 10 and oid >= 16384
        union all
        select from pg_catalog.pg_proc where proowner = 10 and oid >= 16384
        union all
        select from pg_catalog.pg_type where typowner = 10 and oid >= 16384))
order by r.rolname collate "C"
"""


def database_shape(session: Session) -> DatabaseShape:
    """Encoding and locale of the session's database."""
    (name,) = _row(session, "select current_database()::text")
    return database_shapes(session)[name]


def database_shapes(session: Session) -> dict[str, DatabaseShape]:
    """Those of every database of the server."""
    version = session.info.server_version
    provider = "datlocprovider::text" if version >= 150000 else "'c'"
    locale = (
        "datlocale" if version >= 170000 else "daticulocale" if version >= 150000 else "null::text"
    )
    rows = session.execute(
        "select datname::text, pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype,"  # noqa: S608 - each is one of a few words
        f" {provider}, {locale} from pg_catalog.pg_database".encode()
    ).fetchall()
    return {
        name: DatabaseShape(encoding, collate, ctype, _PROVIDERS.get(letter) or letter, found)
        for name, encoding, collate, ctype, letter, found in rows
    }


def database_roles(session: Session) -> tuple[str, ...]:
    """Every role that owns something in the session's database, or is granted something."""
    return tuple(row[0] for row in session.execute(_ROLES.encode()).fetchall())


def snapshot_place(session: Session) -> SnapshotPlace:
    """Where the WAL is now, of a session that has taken its snapshot a moment ago.

    Whatever that snapshot shows was inserted before. A standby has no insert position: there it is
    how far WAL was received, and replayed where nothing is received (from an archive).
    """
    if not _row(session, "select pg_catalog.pg_is_in_recovery()")[0]:
        lsn, file = _row(
            session,
            "select lsn::text, pg_catalog.pg_walfile_name(lsn)"
            " from pg_catalog.pg_current_wal_insert_lsn() lsn",
        )
        return SnapshotPlace(int(file[:8], 16), Lsn.parse(lsn))
    lsn, timeline = _row(
        session,
        "select greatest(pg_catalog.pg_last_wal_receive_lsn(),"
        " pg_catalog.pg_last_wal_replay_lsn())::text,"
        " greatest(c.timeline_id, r.min_recovery_end_timeline)"
        " from pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() r",
    )
    return SnapshotPlace(int(timeline), Lsn.parse(lsn))


def _row(session: Session, statement: str) -> tuple[Any, ...]:
    row = session.execute(statement.encode()).fetchone()
    if row is None:
        raise PostgresError(f"ask PostgreSQL: no answer to {statement!r}")
    return row
