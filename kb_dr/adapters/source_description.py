"""What a restore must know of the cluster, asked of the cluster."""

from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from kb_dr.adapters.index_recall import measure_recall, vector_indexes
from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.base_backup import SourceConfiguration
from kb_dr.domain.manifest import Source, VectorBaseline
from kb_dr.domain.tablespaces import Tablespace
from kb_dr.errors import PostgresError
from kb_dr.settings import SourceSettings

# Hot standby needs the first five at least as large as at the source (docs: "Hot Standby",
# Administrator's Overview); the others tell whether a host can run the cluster at all.
_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "shared_preload_libraries",
    "wal_level",
    "wal_segment_size",
    "block_size",
    "server_encoding",
    "data_checksums",
    "archive_mode",
    "archive_timeout",
    "track_commit_timestamp",
    "max_slot_wal_keep_size",
)

RECALL_SEED = "kb-dr recall"
"""The same stored vectors are searched for at the source and after a restore."""


def describe_source(session: Session, source: SourceSettings) -> Source:
    """The cluster as it is now; PostgresError for one that cannot be backed up from here."""
    if _value(session, "select pg_is_in_recovery()"):
        raise PostgresError(
            f"back up {source.host}:{source.port}: it is a standby",
            hint="Point KB_DB_HOST at the primary: a restore point can only be written there.",
        )
    spaces = tablespaces(session)
    return replace(
        _described(session, source),
        size_bytes=int(
            _value(session, "select sum(pg_database_size(oid))::bigint from pg_database")
        ),
        vectors=measure_vectors(session),
        tablespaces=spaces,
    )


def describe_database(session: Session, source: SourceSettings) -> Source:
    """The server and this one database, for a dump: of a standby, too, and without what only
    files need. Vector indexes are not measured.
    """
    return _described(session, source)


def measure_vectors(session: Session) -> tuple[VectorBaseline, ...]:
    """How well each vector index answers."""
    return tuple(
        measure_recall(session, index, seed=RECALL_SEED) for index in vector_indexes(session)
    )


def _described(session: Session, source: SourceSettings) -> Source:
    version = int(_value(session, "select current_setting('server_version_num')"))
    return Source(
        host=source.host,
        system_identifier=int(_value(session, "select system_identifier from pg_control_system()")),
        server_version=version,
        segment_bytes=int(
            _value(session, "select setting from pg_settings where name = 'wal_segment_size'")
        ),
        database=source.database,
        data_checksums=_value(session, "select current_setting('data_checksums')") == "on",
        extensions=dict(_rows(session, "select extname, extversion from pg_extension order by 1")),
        schema_version=schema_version(session),
        settings=_settings(session, version),
        size_bytes=int(_value(session, "select pg_database_size(current_database())")),
        invalid_indexes=invalid_indexes(session),
    )


def invalid_indexes(session: Session) -> tuple[str, ...]:
    """Indexes PostgreSQL does not use, schema-qualified."""
    return tuple(
        row[0]
        for row in _rows(
            session,
            "select n.nspname || '.' || c.relname from pg_index x"
            " join pg_class c on c.oid = x.indexrelid join pg_namespace n on n.oid = c.relnamespace"
            " where not (x.indisvalid and x.indisready) order by 1",
        )
    )


def read_configuration(session: Session) -> SourceConfiguration:
    """The configuration files that do not lie in the data directory."""
    try:
        data = _value(session, "select current_setting('data_directory')")
        paths = {
            row[0]
            for row in _rows(
                session,
                "select current_setting(name) from unnest("
                "array['config_file', 'hba_file', 'ident_file']) name"
                " union select sourcefile from pg_file_settings where sourcefile is not null",
            )
        }
    except psycopg.errors.InsufficientPrivilege:
        return SourceConfiguration({}, ("configuration files: the role may not see their paths",))
    files: dict[str, bytes] = {}
    unread: list[str] = []
    for path in sorted(path for path in paths if path and not path.startswith(f"{data}/")):
        try:
            files[path] = bytes(_value(session, "select pg_read_binary_file(%s)", path))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile):
            unread.append(path)
    return SourceConfiguration(files, tuple(unread))


def tablespaces(session: Session) -> tuple[Tablespace, ...]:
    """The extra tablespaces, by OID; PostgresError for one that does not lie in a place of its own.

    PostgreSQL has tablespaces without one for its own tests (allow_in_place_tablespaces). A
    relative link is what a restore by hand may leave: base backups would miss what it leads to.
    """
    found = tuple(
        Tablespace(int(oid), name, location)
        for oid, name, location in _rows(
            session,
            "select oid, spcname, pg_tablespace_location(oid) from pg_tablespace"
            " where spcname not in ('pg_default', 'pg_global') order by oid",
        )
    )
    odd = [f"{each.name} at {each.location!r}" for each in found if each.location[:1] != "/"]
    if odd:
        raise PostgresError(
            f"back up: tablespaces without an absolute path: {', '.join(odd)}",
            hint="Make its link in pg_tblspc an absolute one while the server is stopped; or move "
            "its tables elsewhere and drop it.",
        )
    return found


def schema_version(session: Session) -> str | None:
    """Alembic's version; several heads are joined with a comma."""
    row = session.execute(
        "select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relname = 'alembic_version' and c.relkind = 'r' and n.nspname !~ '^pg_'"
        " order by n.nspname <> 'public', 1 limit 1"
    ).fetchone()
    if row is None:
        return None
    statement = sql.SQL("select version_num from {} order by 1").format(
        sql.Identifier(row[0], "alembic_version")
    )
    return ",".join(found[0] for found in session.execute(statement)) or None


def _settings(session: Session, version: int) -> dict[str, str]:
    found: dict[str, str] = dict(
        session.execute(
            "select name, setting from pg_settings where name = any(%s)", (list(_SETTINGS),)
        ).fetchall()
    )
    provider = "datlocprovider::text" if version >= 150000 else "'c'"
    row = session.execute(
        f"select datcollate, datctype, {provider} from pg_database"  # noqa: S608 - one of two words
        " where datname = current_database()".encode()
    ).fetchone()
    if row is not None:
        found.update(lc_collate=row[0], lc_ctype=row[1], locale_provider=row[2])
    return {name: str(value) for name, value in sorted(found.items())}


def _value(session: Session, statement: str, *parameters: Any) -> Any:
    row = session.execute(statement.encode(), parameters or None).fetchone()
    if row is None:
        raise PostgresError(f"ask PostgreSQL: no answer to {statement!r}")
    return row[0]


def _rows(session: Session, statement: str) -> list[tuple[Any, ...]]:
    return session.execute(statement.encode()).fetchall()
