"""Dumps of one database taken in this process, disturbed where a test wants, and loaded again."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import psycopg
import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.client_programs import find_client_programs
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.frozen_source import PostgresDumpSource
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_dump import PgDump, RunningDump
from kb_dr.adapters.table_sample import list_tables, look_up_rows
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import DumpEnd, DumpFormat
from kb_dr.domain.fingerprint import Difference, differences
from kb_dr.domain.manifest import StoredManifest
from kb_dr.operations.backup_run import BackupTools
from kb_dr.operations.dump_backup import take_dump
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.listed_backups import list_backups
from kb_dr.ports import DumpProgram, FrozenSource, Progress, Repository
from kb_dr_tests.dumped_service import DumpedService
from kb_dr_tests.postgres_servers import RunningCluster, source_settings

_IDENTITY = pyrage.x25519.Identity.generate()
CODEC = AgeCodec([str(_IDENTITY.to_public())], [str(_IDENTITY)])

Hook = Callable[[RunningDump], object]


@dataclass
class Dumps:
    """A database of a running cluster, and the repository its dumps go to."""

    cluster: RunningCluster
    database: str
    directory: Path
    lock_seconds: float = 60.0
    user: str = "postgres"
    repository: DirectoryRepository = field(init=False)

    def __post_init__(self) -> None:
        self.repository = DirectoryRepository(self.directory, "primary")
        self.repository.create()
        init_repository(self.repository, SystemClock(), service="kb", org="default")

    def take(self, meanwhile: Hook | None = None, *tables: str) -> StoredManifest:
        """Take a dump; ``meanwhile`` runs once, when its first bytes were read."""
        return take_dump(
            self.repository,
            CODEC,
            self.source(),
            self.program(meanwhile),
            SystemClock(),
            cast("Progress", SilentProgress()),
            BackupTools("kb", "default", "test-host", tables, chunk_bytes=1024 * 1024, transfers=2),
        )

    def source(self) -> PostgresDumpSource:
        """What freezes it."""
        settings = source_settings(self.cluster, self.database, self.user)
        return PostgresDumpSource(settings, lock_seconds=self.lock_seconds)

    def program(self, meanwhile: Hook | None = None) -> DumpProgram:
        """The pg_dump of the cluster's version."""
        programs = self.cluster.programs
        client = find_client_programs("pg_dump", programs.major, [programs.bin_dir])
        settings = source_settings(self.cluster, self.database, self.user)
        real = PgDump(client, settings, lock_seconds=self.lock_seconds)
        return real if meanwhile is None else Disturbed(real, meanwhile)

    def query(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self.cluster.conninfo(self.database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def backups(self) -> list[str]:
        """The ids of the complete dumps."""
        return [
            str(BackupId("kb", each.kind, each.stamp))
            for each in list_backups(self.repository, BackupKind.DUMP)
        ]

    def failures(self) -> int:
        """How many attempts are on record as failed."""
        return len(list(self.repository.list("failures/")))

    def sessions(self) -> list[str]:
        """What of ours is connected to the database."""
        found = self.cluster.query(
            "select application_name || ': ' || query from pg_stat_activity"
            " where datname = %s and application_name = 'kb-dr'",
            [self.database],
        )
        return [row[0] for row in found]

    def loaded(self, stored: StoredManifest) -> "Loaded":
        """The dump in a database of its own, as PostgreSQL's own program loads it."""
        return load(self.repository, self.cluster, stored, f"{self.database}_loaded")


def archive_of(repository: Repository, stored: StoredManifest) -> bytes:
    """The archive as pg_dump wrote it."""
    coded = b"".join(repository.get(chunk) for chunk in stored.manifest.chunks)
    sink = io.BytesIO()
    CODEC.decode_stream(io.BytesIO(coded), sink)
    return sink.getvalue()


def load(
    repository: DirectoryRepository, cluster: RunningCluster, stored: StoredManifest, database: str
) -> "Loaded":
    """Load a dump into a new database; every error is one."""
    archive = cluster.data.parent / f"{database}.dump"
    archive.write_bytes(archive_of(repository, stored))
    cluster.query(f'create database "{database}" template template0')
    cluster.programs.run(
        "pg_restore", "--exit-on-error", "--no-password",
        f"--dbname={cluster.conninfo(database)}", str(archive),
    )  # fmt: skip
    archive.unlink()
    return Loaded(cluster, database)


@dataclass(frozen=True)
class Loaded:
    """A database a dump was loaded into."""

    cluster: RunningCluster
    database: str

    def differences(self, stored: StoredManifest) -> tuple[Difference, ...]:
        """How it differs from what was recorded, missing tables among them."""
        fingerprint = stored.manifest.fingerprint
        found: list[Difference] = []
        with psycopg.connect(self.cluster.conninfo(self.database), autocommit=True) as connection:
            for table in fingerprint.tables:
                look = look_up_rows(connection, table, fingerprint.restore_point)
                if look is None:
                    found.append(Difference(table.table, "is not there"))
                else:
                    found += differences(table, look.rows, look.digests)
            known = {table.table for table in fingerprint.tables}
            found += [
                Difference(name, "was not recorded")
                for name in list_tables(connection)
                if name not in known
            ]
        return tuple(found)

    def value(self, statement: str) -> object:
        """The one value a query returns."""
        return self.cluster.query(statement, database=self.database)[0][0]


@dataclass(frozen=True)
class Disturbed:
    """A `kb_dr.ports.DumpProgram` that stops after its first bytes and lets a test do its worst."""

    real: PgDump
    meanwhile: Hook

    @property
    def tools(self) -> dict[str, str]:
        return self.real.tools

    @contextmanager
    def stream(self, frozen: FrozenSource, form: DumpFormat) -> "Iterator[_Stopping]":
        with self.real.stream(frozen, form) as running:
            yield _Stopping(running, self.meanwhile)

    def write_directory(self, frozen: FrozenSource, directory: Path, *, jobs: int) -> None:
        self.real.write_directory(frozen, directory, jobs=jobs)

    def globals(self) -> bytes | None:
        return self.real.globals()


class _Stopping:
    def __init__(self, running: RunningDump, meanwhile: Hook) -> None:
        self._running = running
        self._meanwhile: Hook | None = meanwhile

    def read(self, size: int = -1, /) -> bytes:
        data = self._running.read(size)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile(self._running)
        return data

    def finish(self) -> DumpEnd:
        return self._running.finish()


@pytest.fixture
def dumps(dumped_service: DumpedService, request: pytest.FixtureRequest, tmp_path: Path) -> Dumps:
    """An empty database of its own on the shared server."""
    name = request.node.name[:50]
    dumped_service.cluster.query(f'create database "{name}"')
    return Dumps(dumped_service.cluster, name, tmp_path / "primary")
