"""The server of the service, asked over the connection its clients use."""

from kb_dr.adapters.postgres_session import session
from kb_dr.adapters.source_description import schema_version
from kb_dr.adapters.source_facts import read_facts
from kb_dr.adapters.table_sample import list_tables
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.replacement import ServiceLook
from kb_dr.errors import PostgresError
from kb_dr.settings import SourceSettings

_STATEMENT_SECONDS = 30.0

_QUESTION = """
select (select checkpoint_lsn from pg_control_checkpoint())::text,
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
            facts = read_facts(asked)
            row = asked.execute(_QUESTION).fetchone()
            if row is None:
                raise PostgresError("ask the service's server: no answer to a question")
            return ServiceLook(
                system_identifier=facts.system_identifier,
                timeline=facts.timeline,
                checkpoint=Lsn.parse(row[0]),
                in_recovery=facts.is_standby,
                may_end_sessions=bool(row[1]),
                tables=frozenset(list_tables(asked)),
                schema_version=schema_version(asked),
            )

    def end_sessions(self) -> int:
        with session(
            self._source, statement_seconds=_STATEMENT_SECONDS, what="end sessions"
        ) as asked:
            row = asked.execute(_END).fetchone()
            return int(row[0]) if row else 0
