"""Logical dumps: where they are taken from, and the servers they are loaded into."""

from typing import TYPE_CHECKING

from kb_dr.settings import Settings, SourceSettings
from kb_dr.wiring.machine import unprivileged

if TYPE_CHECKING:
    from kb_dr.ports import (
        DatabaseServer,
        DumpLoader,
        DumpProgram,
        DumpSource,
        LoadTarget,
        RestoredServer,
    )


def dump_source(settings: Settings) -> "DumpSource":
    """The PostgreSQL under protection, as dumps see it."""
    from kb_dr.adapters.frozen_source import PostgresDumpSource

    return PostgresDumpSource(settings.source)


def dump_program(settings: Settings, *, compressed: bool = False) -> "DumpProgram":
    """pg_dump of the source's own major version, or a newer one; asks the source which that is."""
    from kb_dr.adapters.client_programs import find_client_programs
    from kb_dr.adapters.pg_dump import PgDump
    from kb_dr.adapters.postgres_session import server_major

    major = server_major(settings.source)
    client = find_client_programs(
        "pg_dump", major, settings.postgres_bin_dirs, unprivileged(settings)
    )
    return PgDump(client, settings.source, compressed=compressed)


def dump_loader(settings: Settings, address: SourceSettings) -> "DumpLoader":
    """pg_restore and psql, against the server at ``address``; versions are chosen by the work."""
    from kb_dr.adapters.pg_restore import PgRestore

    return PgRestore(settings.postgres_bin_dirs, address)


def database_server(settings: Settings, address: SourceSettings) -> "DatabaseServer":
    """A running server that databases are restored into: nothing else of the settings matters."""
    from kb_dr.adapters.database_server import PostgresDatabases

    return PostgresDatabases(address)


def load_target(address: SourceSettings) -> "LoadTarget":
    """Marks and roles of that server."""
    from kb_dr.adapters.load_target import PostgresLoadTarget

    return PostgresLoadTarget(address)


def scratch_address(server: "RestoredServer") -> SourceSettings:
    """Where a scratch server is reached."""
    from kb_dr.adapters.scratch_address import scratch_address

    return scratch_address(server)
