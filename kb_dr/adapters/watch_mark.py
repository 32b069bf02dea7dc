"""When the watch last came to its end, as one row beside the catalog."""

from datetime import datetime

from psycopg import errors

from kb_dr.adapters.catalog_session import catalog_session
from kb_dr.adapters.postgres_session import Session
from kb_dr.settings import CatalogSettings

_SCHEMA = "public"
_SECONDS = 10.0

_MADE = """
create table if not exists watch_marks (
    service varchar(255) not null,
    org varchar(255) not null,
    at timestamptz not null,
    primary key (service, org)
)
"""

_WRITE = """
insert into watch_marks (service, org, at) values (%s, %s, %s)
on conflict (service, org) do update set at =
    case when watch_marks.at > %s then excluded.at else greatest(watch_marks.at, excluded.at) end
"""


class PostgresWatchMark:
    """Implements `kb_dr.ports.WatchMark`. No part of the catalog: a rebuild leaves it alone."""

    def __init__(self, settings: CatalogSettings, *, service: str, org: str) -> None:
        self._settings = settings
        self._owner = (service, org)

    def write(self, at: datetime, *, believed_until: datetime) -> None:
        values = (*self._owner, at, believed_until)
        with catalog_session(self._settings, _SCHEMA, deadline_seconds=_SECONDS) as session:
            try:
                session.execute(_WRITE, values)
            except errors.UndefinedTable:
                _make(session)
                session.execute(_WRITE, values)

    def read(self) -> datetime | None:
        with catalog_session(self._settings, _SCHEMA, deadline_seconds=_SECONDS) as session:
            try:
                row = session.execute(
                    "select at from watch_marks where service = %s and org = %s", self._owner
                ).fetchone()
            except errors.UndefinedTable:
                return None
        return row[0] if row else None


def _make(session: Session) -> None:
    try:
        session.execute(_MADE)
    except (errors.UniqueViolation, errors.DuplicateTable):
        return  # another watch was faster
