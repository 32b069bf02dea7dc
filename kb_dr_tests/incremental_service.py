"""A cluster that takes full and incremental backups into a repository of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyrage

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.operations.backup_run import BackupTools
from kb_dr.operations.base_backup import take_base_backup
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.incremental_backup import ChainRules, take_incremental_backup
from kb_dr.operations.initialise import init_repository
from kb_dr.ports import Clock, Repository
from kb_dr.settings import SourceSettings
from kb_dr_tests.postgres_servers import RunningCluster, source_settings
from kb_dr_tests.push_wal import archive_command

SUMMARIZING = {"summarize_wal": "on", "wal_summary_keep_time": "0"}

SETTINGS = SourceSettings(
    host="",
    port=5432,
    database="postgres",
    user="postgres",
    password=None,
    sslmode="prefer",
    data_directory=None,
)

WORDS = BackupTools("kb", "default", "test-host", chunk_bytes=256 * 1024, wal_deadline_seconds=60)


@dataclass
class IncrementalService:
    """The cluster, and where its backups and WAL go."""

    cluster: RunningCluster
    repository: DirectoryRepository
    codec: AgeCodec
    identity: str
    recipient: str

    def back_up(self) -> StoredManifest:
        """Take a full backup."""
        return take_base_backup(
            self.repository,
            self.codec,
            self.source,
            self.program,
            SystemClock(),
            SilentProgress(),
            WORDS,
        )

    def increment(
        self,
        *,
        repository: Repository | None = None,
        backup: BackupId | None = None,
        longest: int = 24,
        clock: Clock | None = None,
    ) -> StoredManifest:
        """Take what `kb-dr backup incr` takes."""
        place = repository or self.repository
        return take_incremental_backup(
            place,
            self.codec,
            self.source,
            self.program,
            clock or SystemClock(),
            SilentProgress(),
            WORDS,
            ChainRules({place.name: place.url}, longest),
            backup=backup,
        )

    @property
    def source(self) -> PostgresSource:
        """The cluster as the product asks it."""
        return PostgresSource(source_settings(self.cluster))

    @property
    def program(self) -> PgBaseBackup:
        """Its pg_basebackup."""
        return PgBaseBackup(self.cluster.programs, source_settings(self.cluster))

    def backups(self) -> list[str]:
        """The ids of the complete backups, oldest first."""
        return [each.manifest.id for each in readable(load_catalog(self.repository))]

    def failures(self) -> list[str]:
        """The records of backups that did not come to their end."""
        return [listed.key for listed in self.repository.list("failures/")]


@contextmanager
def incremental_service(
    programs: PostgresPrograms, directory: Path, settings: dict[str, str] | None = None
) -> Iterator[IncrementalService]:
    """A cluster with a few tables whose WAL goes into the repository."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    place = directory / "repository"
    repository = DirectoryRepository(place, "primary")
    repository.create()
    init_repository(repository, SystemClock(), service="kb", org="default")
    with RunningCluster(
        programs,
        directory / "source",
        archive_command=archive_command(place, recipient),
        settings=settings,
    ) as cluster:
        codec = AgeCodec([recipient], [str(identity)])
        yield IncrementalService(cluster, repository, codec, str(identity), recipient)
