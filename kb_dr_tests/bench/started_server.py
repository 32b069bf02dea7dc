"""A restored data directory, started: until it answers and has left recovery."""

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.unprivileged import end
from kb_dr_tests.postgres_servers import START_SECONDS

_LOOK_SECONDS = 0.02


@contextmanager
def started(programs: PostgresPrograms, data: Path, *, durable: bool = True) -> Iterator[str]:
    """How to connect to it, once it takes writes; gone after the block, its files are left.

    Its own configuration holds but for what would reach beyond it: it archives nothing and
    listens on a socket of its own. With ``durable`` it syncs what it writes, and before that all
    that whoever restored it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="kbdr-", dir="/tmp") as sockets:
        settings = {
            "unix_socket_directories": sockets,
            "listen_addresses": "",
            "archive_mode": "off",
            "fsync": "on" if durable else "off",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        programs.unprivileged.give(Path(sockets))
        log_file = Path(sockets) / "server.log"
        with log_file.open("ab") as log:
            process = programs.unprivileged.start(
                [programs.path("postgres"), "-D", data, *words],
                env=programs.environment(),
                stdout=log,
                stderr=log,
                tied=signal.SIGQUIT,
            )
        conninfo = f"host={sockets} port=5432 user=postgres dbname=postgres"
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _takes_writes(conninfo):
                assert process.poll() is None, log_file.read_text()[-3000:]
                assert time.monotonic() < deadline, log_file.read_text()[-3000:]
                time.sleep(_LOOK_SECONDS)
            yield conninfo
        finally:
            process.send_signal(signal.SIGQUIT)
            end(process, seconds=START_SECONDS)


def _takes_writes(conninfo: str) -> bool:
    try:
        with psycopg.connect(conninfo, autocommit=True, connect_timeout=30) as connection:
            row = connection.execute("select not pg_is_in_recovery()").fetchone()
    except psycopg.OperationalError:
        return False
    return row is not None and bool(row[0])
