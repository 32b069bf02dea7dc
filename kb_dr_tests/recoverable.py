"""A cluster that is backed up, written to, lost and brought back, again and again."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pyrage

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain.manifest import StoredManifest
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.plan_target import Planned, Wanted, plan_target
from kb_dr.operations.restore_postgres import Restored, plan_restore, restore_postgres
from kb_dr.ports import Clock
from kb_dr_tests.postgres_servers import RunningCluster, source_settings
from kb_dr_tests.push_wal import archive_command
from kb_dr_tests.spread_directories import spread


@dataclass(frozen=True)
class Commit:
    """One row, and when its transaction was committed, as the server has it."""

    id: int
    at: datetime


@dataclass
class RecoverableService:
    """One repository, and the clusters that follow one another in front of it."""

    programs: PostgresPrograms
    directory: Path
    identity: pyrage.x25519.Identity = field(default_factory=pyrage.x25519.Identity.generate)

    def __post_init__(self) -> None:
        self.repository = DirectoryRepository(self.directory / "repository", "primary")
        self.repository.create()
        init_repository(self.repository, SystemClock(), service="kb", org="default")
        self.codec = AgeCodec([self._recipient], [str(self.identity)])
        self.host = LocalPostgresHost([self.programs.bin_dir])
        self._restores = 0

    @property
    def _recipient(self) -> str:
        return str(self.identity.to_public())

    @contextmanager
    def in_service(self, directory: Path | None = None) -> Iterator[RunningCluster]:
        """A cluster that archives into the repository: a new one, or a restored directory."""
        place = directory or self.directory / "source"
        auto = place / "data" / "postgresql.auto.conf"
        if auto.exists():
            lines = auto.read_text().splitlines(keepends=True)
            auto.write_text("".join(each for each in lines if not each.startswith("archive_mode")))
        with RunningCluster(
            self.programs,
            place,
            # From the first moment on: else the history of a new timeline is lost.
            archive_command=archive_command(self.directory / "repository", self._recipient),
            settings={"track_commit_timestamp": "on"},
        ) as cluster:
            yield cluster

    def back_up(self, cluster: RunningCluster, clock: Clock | None = None) -> StoredManifest:
        """Take a full backup."""
        settings = source_settings(cluster)
        return take_base_backup(
            self.repository,
            self.codec,
            PostgresSource(settings),
            PgBaseBackup(self.programs, settings),
            clock or SystemClock(),
            SilentProgress(),
            BackupTools("kb", "default", "test-host", chunk_bytes=1024 * 1024),
        )

    def plan(self, wanted: Wanted) -> Planned:
        """The plan for what is wanted."""
        return plan_target(self.repository, self.codec, SystemClock(), wanted)

    def restore(self, wanted: Wanted) -> tuple[Restored, Path]:
        """Restore into a new place; its data directory is ``data`` below what is returned."""
        self._restores += 1
        place = self.directory / f"restored-{self._restores}"
        plan = plan_restore(self.plan(wanted), self.host, place / "data")
        restored = restore_postgres(
            plan,
            self.repository,
            self.codec,
            self.host,
            LocalScratchSpace(spread(self.directory / "scratch")),
            SystemClock(),
            SilentProgress(),
        )
        return restored, place


def make_ledger(cluster: RunningCluster) -> None:
    """The table that says what was committed."""
    cluster.query("create table ledger (id bigserial primary key, entry text)")


def write(cluster: RunningCluster, entry: str) -> datetime:
    """Commit one row; when that was, to the microsecond."""
    [(row_id,)] = cluster.query("insert into ledger (entry) values (%s) returning id", [entry])
    at = cluster.value("select pg_xact_commit_timestamp(xmin) from ledger where id = %s", [row_id])
    assert isinstance(at, datetime)
    return at.astimezone(UTC)


def entries(cluster: RunningCluster) -> list[str]:
    """What the ledger holds."""
    return [row[0] for row in cluster.query("select entry from ledger order by id")]


@contextmanager
def several_writers(cluster: RunningCluster, count: int = 3) -> Iterator[None]:
    """Sessions that commit one row after the other while the block runs."""
    over = threading.Event()

    def run() -> None:
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            while not over.is_set():
                connection.execute("insert into ledger (entry) values ('load')")
                time.sleep(0.003)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def commits(cluster: RunningCluster) -> list[Commit]:
    """Every row of the ledger with its commit time, oldest first."""
    rows = cluster.query("select id, pg_xact_commit_timestamp(xmin) from ledger")
    found = [Commit(row[0], row[1].astimezone(UTC)) for row in rows]
    return sorted(found, key=lambda each: (each.at, each.id))
