"""Where a scratch server is reached, as settings say it of the source."""

from psycopg.conninfo import conninfo_to_dict

from kb_dr.ports import RestoredServer
from kb_dr.settings import SourceSettings


def scratch_address(server: RestoredServer) -> SourceSettings:
    """Its private socket and its superuser; whoever gets there needs no password."""
    words = conninfo_to_dict(server.conninfo())
    return SourceSettings(
        host=str(words["host"]),
        port=int(words["port"] or 5432),
        database=str(words["dbname"]),
        user=str(words["user"]),
        password=None,
        sslmode="disable",
        data_directory=None,
    )
