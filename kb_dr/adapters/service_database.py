"""The server of the service, asked over the connection its clients use."""

from psycopg import pq

from kb_dr.adapters.postgres_session import connection_words, conninfo, session
from kb_dr.adapters.source_description import schema_version
from kb_dr.adapters.table_sample import list_tables
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.replacement import ServiceLook
from kb_dr.errors import PostgresError
from kb_dr.settings import SourceSettings

_STATEMENT_SECONDS = 30.0

# A server that was just opened may not have written its new timeline into pg_control yet.
_QUESTION = """
select (select system_identifier from pg_control_system()),
       (case when pg_is_in_recovery() then (select timeline_id from pg_control_checkpoint())
             else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int end),
       (select checkpoint_lsn from pg_control_checkpoint())::text,
       pg_is_in_recovery(),
       pg_has_role(current_user, 'pg_signal_backend', 'member')
"""

# Those of superusers may be ended by superusers alone; the server's stop ends them.
_END = """
select count(*) filter (where pg_terminate_backend(a.pid))::int
from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
where a.datname = current_database() and a.backend_type = 'client backend'
  and a.pid <> pg_backend_pid()
  and (not r.rolsuper or (select rolsuper from pg_roles where rolname = current_user))
"""


class ServiceSession:
    """Implements `kb_dr.ports.ServiceDatabase`."""

    def __init__(self, source: SourceSettings) -> None:
        self._source = source

    def look(self) -> ServiceLook:
        with session(
            self._source, statement_seconds=_STATEMENT_SECONDS, what="ask the service's server"
        ) as asked:
            row = asked.execute(_QUESTION).fetchone()
            if row is None:
                raise PostgresError("ask the service's server: no answer to a question")
            return ServiceLook(
                system_identifier=row[0],
                timeline=row[1],
                checkpoint=Lsn.parse(row[2]),
                in_recovery=row[3],
                may_end_sessions=row[4],
                tables=frozenset(list_tables(asked)),
                schema_version=schema_version(asked),
            )

    def answers(self) -> bool:
        # libpq tells by the code of the refusal, not by its words; keepalives it does not need,
        # and whether the server can do TLS does not matter here.
        words = connection_words(self._source) | {"sslmode": "prefer"}
        seen = pq.PGconn.ping(conninfo(words | {"dbname": self._source.database}).encode())
        return seen in (pq.Ping.OK, pq.Ping.REJECT)

    def end_sessions(self) -> int:
        with session(
            self._source, statement_seconds=_STATEMENT_SECONDS, what="end sessions"
        ) as asked:
            row = asked.execute(_END).fetchone()
            return int(row[0]) if row else 0
