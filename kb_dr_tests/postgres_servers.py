"""Real PostgreSQL clusters for the tests: made in a second, gone at the end."""

import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.unprivileged import Unprivileged, end
from kb_dr.sandbox.postgres_binaries import install_postgres
from kb_dr.settings import SourceSettings
from kb_dr_tests.new_clusters import make_cluster

START_SECONDS = 120.0
"""Generous: the machine may be starved. Never measured against."""

_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
fsync = off
full_page_writes = on
shared_buffers = 16MB
max_connections = 30
min_wal_size = 32MB
max_wal_size = 64MB
wal_level = replica
archive_mode = on
archive_command = {archive_command}
log_min_messages = warning
"""


def programs_of(major: int) -> PostgresPrograms:
    """The programs of one major version, installed on first use."""
    return PostgresPrograms(install_postgres(major), Unprivileged())


def ask_single_user(programs: PostgresPrograms, data: Path, *statements: str) -> str:
    """What a stopped cluster answers in single-user mode: no password, no configuration of ours."""
    words = shlex.join([str(programs.path("postgres")), "--single", "-D", str(data), "kb"])
    done = programs.unprivileged.run(
        ["bash", "-c", f"printf '%s\\n' {shlex.join(statements)} | {words}"],
        env=programs.environment(),
        timeout_seconds=START_SECONDS,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


class RunningCluster:
    """A PostgreSQL cluster that runs while the ``with`` block does.

    ``archive_command`` is a shell line as PostgreSQL takes it; the default drops WAL.
    Each has a system identifier of its own, as after initdb.
    """

    def __init__(
        self,
        programs: PostgresPrograms,
        directory: Path,
        *,
        archive_command: str = "/bin/true",
        settings: dict[str, str] | None = None,
    ) -> None:
        self.programs = programs
        self.data = directory / "data"
        self.log = directory / "server.log"
        # The path of a socket may be 107 bytes long; pytest's directories are longer than that.
        self.sockets = Path(tempfile.mkdtemp(prefix="kbdr-", dir="/tmp"))
        self.archive_command = archive_command
        self.settings = dict(settings or {})
        self.environment: dict[str, str] = {}
        """Added to the server's own; takes effect at the next start."""
        self._process: subprocess.Popen[bytes] | None = None

    # life

    def __enter__(self) -> Self:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.programs.unprivileged.give(self.sockets)
        if not self.data.exists():
            make_cluster(self.programs, self.data, "--data-checksums")
        self.configure()
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def configure(self) -> None:
        """Write the configuration; takes effect at the next start or reload()."""
        lines = _CONFIGURATION.format(
            sockets=self.sockets, archive_command=_quoted(self.archive_command)
        )
        lines += "".join(f"{name} = {_quoted(value)}\n" for name, value in self.settings.items())
        (self.data / "kb_dr_tests.conf").write_text(lines)
        main = self.data / "postgresql.conf"
        include = "include 'kb_dr_tests.conf'\n"
        if include not in main.read_text():
            with main.open("a") as stream:
                stream.write(include)

    def start(self) -> None:
        """Start the server and wait until it answers queries."""
        with self.log.open("ab") as log:
            self._process = self.programs.unprivileged.start(
                [self.programs.path("postgres"), "-D", self.data],
                env={**self.programs.environment(), **self.environment},
                stdout=log,
                stderr=log,
                tied=signal.SIGQUIT,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.query("select 1")
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    words = self.log.read_text()[-2000:]
                    raise AssertionError(f"the server did not start: {error}\n{words}") from error
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Shut the server down: SIGINT fast, SIGQUIT immediate, SIGKILL like a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None
            if how is signal.SIGKILL:
                self._wait_for_children()

    def kill(self) -> None:
        """Take the server's power away."""
        self.stop(signal.SIGKILL)

    def lose(self) -> None:
        """The disaster: the server dies and its data directory is removed."""
        self.kill()
        shutil.rmtree(self.data)

    def close(self) -> None:
        """End the server if it runs and remove its socket."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            end(self._process, seconds=START_SECONDS)
            self._process = None
        shutil.rmtree(self.sockets, ignore_errors=True)

    def reload(self) -> None:
        """Make a changed configuration take effect."""
        self.configure()
        self.query("select pg_reload_conf()")

    def archive_with(self, command: str) -> None:
        """Archive WAL with another command from now on, and wait until that is in effect."""
        self.archive_command = command
        self.reload()
        self.wait_for("select current_setting('archive_command') = %s", [command])

    # questions

    def conninfo(self, database: str = "postgres") -> str:
        """How to connect to it, over its unix socket."""
        named = database.replace("\\", "\\\\").replace("'", "\\'")
        return f"host={self.sockets} port=5432 user=postgres dbname='{named}'"

    def query(
        self, statement: str, parameters: Sequence[Any] = (), *, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own; return its rows."""
        with psycopg.connect(
            self.conninfo(database), autocommit=True, connect_timeout=30
        ) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """The one value a query returns."""
        return self.query(statement, parameters)[0][0]

    def wait_for(self, condition: str, parameters: Sequence[Any] = ()) -> None:
        """Wait until a query says true."""
        deadline = time.monotonic() + START_SECONDS
        while not self.value(condition, parameters):
            assert time.monotonic() < deadline, f"never became true: {condition}"
            time.sleep(0.05)

    def switch_wal(self) -> str:
        """End the segment being written; return the name of the file that holds all so far."""
        name = self.value("select pg_walfile_name(pg_switch_wal())")
        assert isinstance(name, str)
        return name

    def archive_everything(self) -> str:
        """Switch, and wait until the archiver has reported that segment; return its name."""
        self.query("create table if not exists kb_dr_tick (at timestamptz)")
        self.query("insert into kb_dr_tick values (now())")
        name = self.switch_wal()
        self.wait_for(
            "select coalesce(last_archived_wal >= %s, false) from pg_stat_archiver", [name]
        )
        return name

    @property
    def system_identifier(self) -> int:
        """What tells this cluster's WAL from any other's."""
        return int(self.value("select system_identifier from pg_control_system()"))

    def _wait_for_children(self) -> None:
        """After SIGKILL its children end by themselves; until then the directory is in use."""
        deadline = time.monotonic() + START_SECONDS
        while _processes_in(self.data) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _processes_in(self.data), f"still running in {self.data}"


def _processes_in(directory: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if entry.readlink() == directory:
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def source_settings(
    cluster: RunningCluster, database: str = "postgres", user: str = "postgres"
) -> SourceSettings:
    """How kb_dr reaches a test cluster."""
    return SourceSettings(
        host=str(cluster.sockets),
        port=5432,
        database=database,
        user=user,
        password=None,
        sslmode="prefer",
        data_directory=None,
    )


def fill(cluster: RunningCluster, entries: int = 1500, *, database: str = "postgres") -> None:
    """A small knowledge base: entries, a migration version; vectors and an HNSW index where the
    cluster's programs have pgvector.
    """
    vectors = bool(
        cluster.query(
            "select 1 from pg_available_extensions where name = 'vector'", database=database
        )
    )
    place = "vector(8)" if vectors else "double precision[]"
    if vectors:
        cluster.query("create extension if not exists vector", database=database)
    for statement in (
        "create table alembic_version (version_num varchar(32) primary key)",
        "insert into alembic_version values ('20260101_first')",
        "create table organizations (id int primary key, name text not null)",
        "insert into organizations select i, 'organization ' || i from generate_series(1, 20) i",
        "create table knowledge_entries (id bigint primary key, title text not null,"
        f" score double precision, written timestamptz, place {place})",
        "insert into knowledge_entries select i, 'entry ' || md5(i::text), i / 7.0,"
        " '2026-01-01'::timestamptz + i * interval '1 minute',"
        " (select array_agg(sin(i * 13.7 + d * d)) from generate_series(1, 8) d)"
        f"::{place} from generate_series(1, {entries}) i",
    ):
        cluster.query(statement, database=database)
    if vectors:
        cluster.query(
            "create index knowledge_entries_place on knowledge_entries using hnsw"
            " (place vector_cosine_ops)",
            database=database,
        )
