"""A cluster lost after a full and five incremental backups, taken while it was written to."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.restored_checks import RestoredChecks
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Proof
from kb_dr.operations.base_backup import BackupTools
from kb_dr.operations.incremental_backup import ChainRules, take_incremental_backup
from kb_dr.operations.verify import verify_backup
from kb_dr.ports import PostgresHost, ServerInspector
from kb_dr_tests.postgres_servers import RunningCluster, programs_of, source_settings
from kb_dr_tests.protected_service import Service
from kb_dr_tests.recoverable import (
    Commit,
    RecoverableService,
    commits,
    make_ledger,
    several_writers,
)
from kb_dr_tests.spread_directories import spread

INCREMENTS = 5

_TOOLS = BackupTools("kb", "default", "test-host", chunk_bytes=1024 * 1024)


@dataclass
class ChainedService:
    """What is left of it, and what is known of its rows."""

    service: RecoverableService
    chain: tuple[StoredManifest, ...]
    """The full first. Before PostgreSQL 17 the others are recovery points."""
    written: tuple[tuple[Commit, ...], ...]
    """Of each backup, what was committed before it began."""
    everything: tuple[Commit, ...]
    """All that was committed."""

    @property
    def root(self) -> Path:
        """Where the repository lies."""
        return self.service.directory / "repository"

    @property
    def newest(self) -> StoredManifest:
        """The last of the chain."""
        return self.chain[-1]

    def copied(self, directory: Path) -> "ChainedService":
        """The same with a repository of its own, to be damaged."""
        shutil.copytree(self.root, directory / "repository")
        service = _Copied(self.service.programs, directory, self.service.identity)
        return ChainedService(service, self.chain, self.written, self.everything)

    def prove(
        self,
        backup: BackupId | None = None,
        *,
        inspector: ServerInspector | None = None,
        host: PostgresHost | None = None,
    ) -> Proof:
        """Verify one backup; the newest when none is named."""
        service = self.service
        scratch = spread(service.directory / "scratch")
        proof = verify_backup(
            service.repository,
            service.codec,
            host or service.host,
            LocalScratchSpace(scratch),
            inspector or RestoredChecks(),
            SystemClock(),
            SilentProgress(),
            backup=backup or self.newest.manifest.backup_id,
        )
        assert list(scratch.iterdir()) == [], "scratch outlived its proof"
        return proof

    def commands(self) -> Service:
        """`kb-dr` in front of it, on a host that holds the key and nothing else."""
        directory = self.service.directory
        key = directory / "kb.agekey"
        key.write_text(f"{self.service.identity}\n")
        return Service(
            directory,
            {
                "KB_DR_REPOSITORY_URL": str(self.root),
                "KB_DR_AGE_RECIPIENTS": str(self.service.identity.to_public()),
                "KB_DR_AGE_IDENTITY_FILE": str(key),
                "KB_DR_POSTGRES_BIN_DIRS": str(self.service.programs.bin_dir),
                "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
                "KB_DR_STATE_DIR": str(directory / "state"),
            },
        )

    def path(self, key: str) -> Path:
        """The file of an object, to be damaged."""
        path = self.root / key
        path.chmod(0o600)
        return path


class _Copied(RecoverableService):
    """A service whose repository is there already."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repository = DirectoryRepository(self.directory / "repository", "primary")


def increment(service: RecoverableService, cluster: RunningCluster) -> StoredManifest:
    """Take the hourly backup."""
    settings = source_settings(cluster)
    return take_incremental_backup(
        service.repository,
        service.codec,
        PostgresSource(settings),
        PgBaseBackup(service.programs, settings),
        SystemClock(),
        SilentProgress(),
        _TOOLS,
        ChainRules({"primary": service.repository.url}, longest=24),
    )


def make_chain(
    programs: PostgresPrograms, directory: Path, increments: int = INCREMENTS
) -> ChainedService:
    """Take the backups, each while three sessions write, and lose the cluster."""
    service = RecoverableService(programs, directory)
    chain: list[StoredManifest] = []
    written: list[tuple[Commit, ...]] = []
    with service.in_service() as cluster:
        if programs.major >= 17:
            cluster.query("alter system set summarize_wal = on")
            cluster.query("select pg_reload_conf()")
        make_ledger(cluster)
        cluster.query("create table stock (id int primary key, count int, filler text)")
        cluster.query(
            "insert into stock select i, 0, repeat(md5(i::text), 20)"
            " from generate_series(1, 5000) i"
        )
        cluster.query("vacuum freeze stock")
        for number in range(increments + 1):
            with several_writers(cluster):
                # Pages lose their all-visible bits after each backup, and get them again.
                low = number * 500
                cluster.query(
                    "update stock set count = count + 1 where id between %s and %s",
                    [low, low + 300],
                )
                cluster.query("delete from stock where id %% 97 = %s", [number])
                if number % 2:
                    cluster.query("vacuum stock")
                written.append(tuple(commits(cluster)))
                taken = increment(service, cluster) if chain else service.back_up(cluster)
            chain.append(taken)
        everything = tuple(commits(cluster))
        cluster.archive_everything()
        cluster.query("insert into ledger (entry) values ('never archived')")
        cluster.lose()
    return ChainedService(service, tuple(chain), tuple(written), everything)


@pytest.fixture(scope="session")
def chained_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[int], ChainedService]]:
    """One such service of each major version that is asked for; damage only copies of it."""
    made: dict[int, ChainedService] = {}
    directory = tmp_path_factory.mktemp("chained")

    def chained(major: int) -> ChainedService:
        if major not in made:
            made[major] = make_chain(programs_of(major), directory / str(major))
        return made[major]

    yield chained
    shutil.rmtree(directory)
