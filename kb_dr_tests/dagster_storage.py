"""A real PostgreSQL for Dagster's storage, reached over loopback as dagster.yaml says."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr_tests.postgres_servers import RunningCluster

ATTEMPTS = 5


class LoopbackCluster(RunningCluster):
    """A cluster that also listens on a port of 127.0.0.1."""

    def __init__(self, programs: PostgresPrograms, directory: Path, port: int) -> None:
        super().__init__(
            programs,
            directory,
            settings={"listen_addresses": "127.0.0.1", "port": str(port), "archive_mode": "off"},
        )
        self.port = port

    def conninfo(self, database: str = "postgres") -> str:
        """How to connect to it, over its unix socket."""
        return f"host={self.sockets} port={self.port} user=postgres dbname={database}"


@contextmanager
def dagster_storage(programs: PostgresPrograms, directory: Path) -> Iterator[LoopbackCluster]:
    """A running cluster with an empty database ``dagster``; a lost port race is run again."""
    for attempt in range(1, ATTEMPTS + 1):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        cluster = LoopbackCluster(programs, directory / str(attempt), port)
        try:
            cluster.__enter__()
        except AssertionError:
            if attempt == ATTEMPTS:
                raise
            continue
        try:
            cluster.query("create database dagster")
            yield cluster
        finally:
            cluster.close()
        return


def storage_environment(cluster: LoopbackCluster) -> dict[str, str]:
    """The variables dagster.yaml reads."""
    return {
        "KB_DR_DAGSTER_PG_HOST": "127.0.0.1",
        "KB_DR_DAGSTER_PG_PORT": str(cluster.port),
        "KB_DR_DAGSTER_PG_USER": "postgres",
        "KB_DR_DAGSTER_PG_PASSWORD": "not-asked-for",
        "KB_DR_DAGSTER_PG_DB": "dagster",
    }
