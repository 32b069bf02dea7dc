"""A protected cluster that was lost: its backup and WAL in a directory, to be damaged in copies."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

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
from kb_dr_tests.postgres_servers import RunningCluster, fill, source_settings
from kb_dr_tests.push_wal import archive_command
from kb_dr_tests.spread_directories import spread

ENTRIES = 1500
AFTER_THE_BACKUP = ("after the backup", "in a later segment", "in the last segment")
NEVER_ARCHIVED = "never archived"


@dataclass(frozen=True)
class LostCluster:
    """What is left of it: the repository, the key, and what is known of its rows."""

    programs: PostgresPrograms
    repository: DirectoryRepository
    codec: AgeCodec
    recipient: str
    identity: str
    stored: StoredManifest
    segments: tuple[str, ...]
    """The names of the segments archived after the backup, oldest first."""

    @property
    def host(self) -> LocalPostgresHost:
        """A host that can run it."""
        return LocalPostgresHost([self.programs.bin_dir])

    def scratch(self, directory: Path) -> LocalScratchSpace:
        """Scratch space of its own."""
        return LocalScratchSpace(spread(directory / "scratch"))

    def copied(self, directory: Path) -> "LostCluster":
        """The same with a repository of its own, to be damaged."""
        place = directory / "repository"
        shutil.copytree(self.root, place)
        return LostCluster(
            self.programs,
            DirectoryRepository(place, self.repository.name),
            self.codec,
            self.recipient,
            self.identity,
            self.stored,
            self.segments,
        )

    @property
    def root(self) -> Path:
        """Where the repository lies."""
        return Path(self.repository.url)

    def object_of(self, segment: str) -> Path:
        """The file of one stored WAL segment."""
        (found,) = self.root.glob(f"wal/*/*/{segment}-*")
        return found

    @property
    def chunks(self) -> list[Path]:
        """The files of the backup's chunks, in order."""
        return [self.root / chunk.key for chunk in self.stored.manifest.chunks]


def lose_a_protected_cluster(programs: PostgresPrograms, directory: Path) -> LostCluster:
    """Protect a cluster, add rows after its backup, some of them never archived, and lose it."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    codec = AgeCodec([recipient], [str(identity)])
    repository = DirectoryRepository(directory / "repository", "primary")
    repository.create()
    init_repository(repository, SystemClock(), service="kb", org="default")
    with RunningCluster(programs, directory / "source") as cluster:
        cluster.archive_with(archive_command(directory / "repository", recipient))
        fill(cluster, ENTRIES)
        cluster.query("create table ledger (entry text primary key)")
        # Stands in postgresql.auto.conf, which PostgreSQL reads whatever config_file says.
        cluster.query("alter system set cluster_name = 'production'")
        cluster.query("insert into ledger values ('in the base backup')")
        # As a failed CREATE INDEX CONCURRENTLY leaves one: invalid at the source already.
        cluster.query("create index ledger_stale on ledger (entry)")
        cluster.query(
            "update pg_index set indisvalid = false where indexrelid = 'ledger_stale'::regclass"
        )
        settings = source_settings(cluster)
        stored = take_base_backup(
            repository,
            codec,
            PostgresSource(settings),
            PgBaseBackup(programs, settings),
            SystemClock(),
            SilentProgress(),
            BackupTools("kb", "default", "test-host", chunk_bytes=1024 * 1024),
        )
        segments = []
        for entry in AFTER_THE_BACKUP:
            cluster.query("insert into ledger values (%s)", [entry])
            segments.append(cluster.archive_everything())
        cluster.query("insert into ledger values (%s)", [NEVER_ARCHIVED])
        cluster.lose()
    return LostCluster(
        programs, repository, codec, recipient, str(identity), stored, tuple(segments)
    )


@pytest.fixture(scope="session")
def lost_cluster(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> LostCluster:
    """One lost cluster for all tests of a run: read it, or damage a copy."""
    return lose_a_protected_cluster(postgres_programs, tmp_path_factory.mktemp("lost"))
