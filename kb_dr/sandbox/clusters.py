"""The two PostgreSQL servers of a sandbox: production, and Dagster's storage."""

import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.stray_server import end_server_in
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.errors import PostgresCommandFailed, SandboxError
from kb_dr.sandbox.places import (
    DATABASE,
    SUPERUSER,
    Places,
    State,
    free_port,
    is_free,
    with_port,
    write_private,
    write_state,
)
from kb_dr.sandbox.postgres_binaries import install_postgres
from kb_dr.sandbox.processes import START_SECONDS, end_noted, note, running, tail

MAJOR = 16
ATTEMPTS = 5
_DATABASES = {"production": DATABASE, "storage": "dagster"}
CATALOG = "kb_dr_catalog"
"""Beside Dagster's storage, in the same server."""

_CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = 64MB
maintenance_work_mem = 256MB
max_wal_size = 512MB
"""

_ARCHIVING = """
wal_level = replica
archive_mode = on
archive_timeout = 60
archive_command = '{command}'
"""


def programs() -> PostgresPrograms:
    """PostgreSQL's programs; installed when they are used for the first time."""
    return PostgresPrograms(install_postgres(MAJOR), Unprivileged())


def start_cluster(places: Places, state: State, cluster: str) -> State:
    """Start one server unless it runs, made first where there is none; the state with its port."""
    if running(places.pid_file(cluster)) is not None:
        return state
    data = places.data(cluster)
    if not (data / "PG_VERSION").exists():
        _initialise(places, state, cluster)
    # Of a command that was killed before it could note its server.
    end_server_in(data)
    # Of a crash: a new process of that number would be taken for the old server.
    (data / "postmaster.pid").unlink(missing_ok=True)
    port = state.ports.get(cluster) or free_port()
    for attempt in range(1, ATTEMPTS + 1):
        if not is_free(port):
            port = free_port()  # somebody else has taken it since
        _configure(places, cluster, port)
        try:
            _start(places, cluster)
        except PostgresCommandFailed as error:
            if attempt == ATTEMPTS or is_free(port):
                words = tail(places.log(cluster))
                raise SandboxError(f"start {cluster}: {error}\n{words}") from error
            continue
        state = with_port(state, cluster, port)
        write_state(places, state)
        break
    _make_database(state, cluster, _DATABASES[cluster])
    if cluster == "storage":
        _make_database(state, cluster, CATALOG)
    return state


def stop_cluster(places: Places, cluster: str, how: signal.Signals = signal.SIGINT) -> bool:
    """Stop one server (SIGINT: fast, SIGKILL: the power goes); whether it ran."""
    ran = end_noted(places.pid_file(cluster), how)
    end_server_in(places.data(cluster))
    return ran


def query(
    state: State,
    cluster: str,
    statement: str,
    parameters: Sequence[Any] = (),
    *,
    database: str | None = None,
) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own; its rows."""
    with connect(state, cluster, database=database) as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def connect(
    state: State, cluster: str, *, database: str | None = None
) -> psycopg.Connection[tuple[Any, ...]]:
    """A session in autocommit."""
    return psycopg.connect(
        host="127.0.0.1",
        port=state.ports[cluster],
        user=SUPERUSER,
        password=state.secrets.postgres,
        dbname=database or _DATABASES[cluster],
        autocommit=True,
        connect_timeout=10,
    )


def _initialise(places: Places, state: State, cluster: str) -> None:
    """Make a cluster; the directory gets its name last, so that one that is there is whole."""
    data = places.data(cluster)
    unfinished = data.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = data.parent / ".password"
    write_private(password, state.secrets.postgres.encode() + b"\n")
    try:
        programs().run(
            "initdb",
            *("-D", unfinished, "-U", SUPERUSER, f"--pwfile={password}", "--data-checksums"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
            timeout_seconds=START_SECONDS,
        )
        unfinished.rename(data)
    finally:
        password.unlink(missing_ok=True)


def _configure(places: Places, cluster: str, port: int) -> None:
    """Write our part of the configuration; what a restore brought back is the same part.

    Production archives from its first start after a restore on: WAL of the new timeline that was
    written before would be missing from it for good.
    """
    lines = _CONFIGURATION.format(port=port)
    if cluster == "production":
        words = [sys.executable, "-P", "-m", "kb_dr.cli", "--env-file", str(places.env_file)]
        # Quoted for the shell, for archive_command (%) and for the file (quote and backslash).
        command = shlex.join(words).replace("%", "%%") + " wal push %p"
        command = command.replace("\\", "\\\\").replace("'", "''")
        lines += _ARCHIVING.format(command=command)
        settled = places.data(cluster) / "postgresql.auto.conf"
        kept = [line for line in settled.read_text().splitlines(keepends=True)
                if not line.startswith("archive_mode")]  # fmt: skip
        write_private(settled, "".join(kept).encode())
    data = places.data(cluster)
    (data / "sandbox.conf").write_text(lines)
    main = data / "postgresql.conf"
    include = "include 'sandbox.conf'\n"
    if include not in main.read_text():
        with main.open("a") as stream:
            stream.write(include)


def _start(places: Places, cluster: str) -> None:
    data, log = places.data(cluster), places.log(cluster)
    programs().run(
        "pg_ctl",
        *("-D", data, "-l", log, "-w", "-t", str(int(START_SECONDS)), "start"),
        timeout_seconds=START_SECONDS + 30,
    )
    note(places.pid_file(cluster), int((data / "postmaster.pid").read_text().split()[0]))


def _make_database(state: State, cluster: str, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            found = query(
                state,
                cluster,
                "select 1 from pg_database where datname = %s",
                [name],
                database="postgres",
            )
            break
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise SandboxError(f"ask {cluster}: {error}") from error
            time.sleep(0.1)
    if not found:
        query(state, cluster, f"create database {name}", database="postgres")
