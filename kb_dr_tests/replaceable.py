"""A service in production whose cluster is replaced: a server, an application, and commands."""

import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.stray_server import end_server_in
from kb_dr.domain.recovery_target import AtTime
from kb_dr.domain.replacement import Replacement
from kb_dr.installation import Installation
from kb_dr.operations.plan_replacement import ReplacePlan
from kb_dr.operations.plan_target import Wanted
from kb_dr.operations.replace_postgres import Surroundings
from kb_dr.settings import load_settings
from kb_dr_tests.protected_service import Service
from kb_dr_tests.recoverable import RecoverableService, make_ledger, write

ONLY_THERE = "only in the old one"
"""A row that no backup and no archived WAL holds."""


@dataclass(frozen=True)
class Production:
    """A cluster that was backed up and written to, stopped, to be copied for each test."""

    service: RecoverableService
    data: Path
    asked: datetime
    """To which it is recovered."""

    @property
    def wanted(self) -> Wanted:
        """What is asked for in these tests."""
        return Wanted(AtTime(self.asked))


def make_production(programs: PostgresPrograms, directory: Path) -> Production:
    """Rows a and b, which are wanted back, and c, which is the accident."""
    service = RecoverableService(programs, directory)
    with service.in_service() as cluster:
        make_ledger(cluster)
        write(cluster, "a")
        service.back_up(cluster)
        asked = write(cluster, "b")
        write(cluster, "c")
        cluster.archive_everything()
        cluster.stop()
        data = cluster.data
    return Production(service, data, asked)


@pytest.fixture(scope="session")
def production(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Production:
    """One for all tests: each copies it."""
    return make_production(postgres_programs, tmp_path_factory.mktemp("production"))


class RunningService:
    """A copy of that production, running, with an application in front of it.

    Its commands are shell scripts, which note that they were called in ``calls``. A file
    ``once-NAME`` or ``always-NAME`` beside them is run instead of what the script does.
    """

    def __init__(self, production: Production, directory: Path) -> None:
        self.production = production
        self.directory = directory
        self.programs = production.service.programs
        self.place = directory / "postgres"
        self.data = self.place / "data"
        self.app = directory / "app-is-running"
        self.calls_file = directory / "calls"
        self.sockets = Path(tempfile.mkdtemp(prefix="kbdr-", dir="/tmp"))
        self.place.mkdir(parents=True)
        shutil.copytree(production.data, self.data, symlinks=True)
        self.programs.unprivileged.give(self.sockets)
        # This copy must not write into the archive that all tests read.
        self.configure("archive_command = '/bin/true'")
        self._write_scripts()
        self._kb_dr = self._settings()
        self.script("postgres-start")
        self.script("app-start")
        self.query(f"insert into ledger (entry) values ('{ONLY_THERE}')")
        self.calls_file.unlink()
        self._lasting = {*self.directory.iterdir()}

    # the service

    def configure(self, *lines: str) -> None:
        """What this host runs its server with."""
        (self.data / "kb_dr_tests.conf").write_text(
            f"listen_addresses = ''\nunix_socket_directories = '{self.sockets}'\n"
            "shared_buffers = 16MB\nmax_connections = 30\nfsync = off\narchive_mode = on\n"
            "track_commit_timestamp = on\ncluster_name = 'this host'\n"
            + "".join(f"{line}\n" for line in lines)
        )

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Ask its server."""
        with psycopg.connect(
            f"host={self.sockets} user=postgres dbname=postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def entries(self) -> list[str]:
        """What its ledger holds."""
        return [row[0] for row in self.query("select entry from ledger order by id")]

    @property
    def calls(self) -> list[str]:
        """The commands called so far, in order."""
        return self.calls_file.read_text().split() if self.calls_file.exists() else []

    @property
    def beside(self) -> list[str]:
        """What stands where the data directory does."""
        return sorted(each.name for each in self.place.iterdir())

    def close(self) -> None:
        """End its server, whichever directory it runs on."""
        for each in self.place.iterdir():
            end_server_in(each)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def is_old_service(self) -> bool:
        """Tidy up after a test; whether the next one finds the service as if it were new."""
        for each in {*self.directory.iterdir()} - self._lasting:
            if each.is_file():
                each.unlink()
        for each in self.place.glob("data.failed-*"):
            shutil.rmtree(each)
        try:
            self.require_old_service()
        except (AssertionError, psycopg.Error):
            return False
        return self.beside == ["data"]

    # its commands

    def instead(self, name: str, lines: str, *, always: bool = False) -> None:
        """Let a command do something else, the next time or always."""
        path = self.directory / f"{'always' if always else 'once'}-{name}"
        path.write_text(f"{lines}\n")

    def script(self, name: str) -> None:
        """Run one of its commands by hand."""
        import subprocess

        subprocess.run([self.directory / name], check=True, timeout=120)

    def _write_scripts(self) -> None:
        pg_ctl = self.programs.unprivileged.prefixed([self.programs.path("pg_ctl")], None)
        environment = self.programs.environment()
        library = environment.get("LD_LIBRARY_PATH", "")
        ctl = f"LD_LIBRARY_PATH={library} {' '.join(pg_ctl)} -D {self.data} -s"
        psql = f"{self.programs.path('psql')} -h {self.sockets} -U postgres -Atqc"
        for name, body in {
            "app-stop": f"rm -f {self.app}",
            "app-start": f"touch {self.app}",
            "postgres-stop": f"cd / && {ctl} -w -m fast stop",
            # Left running with our streams, as a careless script would.
            "postgres-start": f"cd / && {ctl} -w -t 100 start",
            "migrations-check": "exit 0",
            "health": f"test -e {self.app} && LD_LIBRARY_PATH={library} {psql} 'select 1'",
        }.items():
            path = self.directory / name
            path.write_text(
                f"#!/bin/sh\necho {name} >>{self.calls_file}\n"
                f"always={self.directory}/always-{name}\nonce={self.directory}/once-{name}\n"
                'if [ -e "$always" ]; then . "$always"; exit; fi\n'
                'if [ -e "$once" ]; then mv "$once" "$once.used"; . "$once.used"; exit; fi\n'
                f"{body}\n"
            )
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    # kb-dr in front of it

    def _settings(self) -> Service:
        service, commands = self.production.service, self.directory
        key = self.directory / "kb.agekey"
        key.write_text(f"{service.identity}\n")
        return Service(
            self.directory / "kb-dr",
            {
                "KB_DB_HOST": str(self.sockets),
                "KB_DB_NAME": "postgres",
                "KB_DB_USER": "postgres",
                "KB_DR_REPOSITORY_URL": str(service.directory / "repository"),
                "KB_DR_AGE_RECIPIENTS": str(service.identity.to_public()),
                "KB_DR_AGE_IDENTITY_FILE": str(key),
                "KB_DR_POSTGRES_BIN_DIRS": str(self.programs.bin_dir),
                "KB_DR_SCRATCH_DIR": str(self.directory / "scratch"),
                "KB_DR_STATE_DIR": str(self.directory / "state"),
                "KB_DR_SOURCE_DATA_DIRECTORY": str(self.data),
                "KB_DR_APP_STOP_COMMAND": str(commands / "app-stop"),
                "KB_DR_APP_START_COMMAND": str(commands / "app-start"),
                "KB_DR_POSTGRES_STOP_COMMAND": str(commands / "postgres-stop"),
                "KB_DR_POSTGRES_START_COMMAND": str(commands / "postgres-start"),
                "KB_DR_MIGRATIONS_CHECK_COMMAND": str(commands / "migrations-check"),
                "KB_DR_HEALTH_COMMAND": str(commands / "health"),
                "KB_DR_COMMAND_SECONDS": "100",
            },
        )

    @property
    def kb_dr(self) -> Service:
        """The command, with its settings."""
        return self._kb_dr

    def words(self, *more: str) -> list[str]:
        """`kb-dr restore` of what is asked for, into this service."""
        at = self.production.asked.isoformat()
        return ["restore", "--target-time", at, "--into", str(self.data), "--replace", *more]

    def opened(self, **settings: str) -> Installation:
        """The same in this process."""
        return Installation(load_settings(self._kb_dr.settings | settings))

    def plan(self, **settings: str) -> tuple[ReplacePlan, Surroundings]:
        """The plan, and what carries it out."""
        opened = self.opened(**settings)
        plan = opened.plan_replacement(self.production.wanted, None, self.data)
        return plan, opened.around(opened.repository(plan.restore.recovery.copy))

    def unfinished(self) -> Replacement | None:
        """What its journal says."""
        return self.opened().unfinished_replacement(self.data)

    def require_old_service(self) -> None:
        """It answers again as it did, with every row it had; nothing is left to be repaired."""
        assert self.entries == ["a", "b", "c", ONLY_THERE]
        assert self.query("select timeline_id from pg_control_checkpoint()") == [(1,)]
        assert self.query("show archive_mode") == [("on",)]
        assert self.app.exists()
        assert self.unfinished() is None
        assert "data" in self.beside
        assert not [each for each in self.beside if "before" in each or "partial" in each]


@pytest.fixture
def running(production: Production, tmp_path: Path) -> Iterator[RunningService]:
    """A service of its own for a test."""
    service = RunningService(production, tmp_path)
    try:
        yield service
    finally:
        service.close()
