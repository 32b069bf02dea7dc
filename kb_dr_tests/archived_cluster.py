"""A cluster whose base backup and WAL outlived it, to recover from in many ways."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.cli.program import program
from kb_dr.domain.lsn import Lsn
from kb_dr.operations.initialise import init_repository
from kb_dr_tests.new_clusters import make_cluster
from kb_dr_tests.postgres_servers import START_SECONDS, RunningCluster, programs_of

ROWS = 3

_ABORTED = "FATAL:  could not restore file"
"""So PostgreSQL says that it was our command that ended recovery, and nothing else."""


@dataclass(frozen=True)
class WalStore:
    """A repository in a directory, and the settings file that names it."""

    directory: Path
    public: str
    secret: str

    @classmethod
    def make(cls, directory: Path) -> "WalStore":
        """Make an empty repository with a key of its own."""
        directory.mkdir(parents=True)
        identity = pyrage.x25519.Identity.generate()
        store = cls(directory, str(identity.to_public()), str(identity))
        store.repository.create()
        init_repository(store.repository, SystemClock(), service="kb", org="default")
        store.configure()
        return store

    def copied(self, directory: Path) -> "WalStore":
        """The same content in another place, to be damaged there."""
        shutil.copytree(self.directory, directory)
        store = WalStore(directory, self.public, self.secret)
        store.configure()
        return store

    def configure(self, **settings: str) -> Path:
        """Write the settings file; return its path."""
        identities = self.directory / "identities"
        identities.write_text(self.secret + "\n")
        lines = {
            "KB_DR_REPOSITORY_URL": str(self.directory / "repository"),
            "KB_DR_AGE_RECIPIENTS": self.public,
            "KB_DR_AGE_IDENTITY_FILE": str(identities),
            "KB_DR_STATE_DIR": str(self.directory / "state"),
            **settings,
        }
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        return self.env_file

    @property
    def env_file(self) -> Path:
        return self.directory / "kb_dr.env"

    @property
    def repository(self) -> DirectoryRepository:
        return DirectoryRepository(self.directory / "repository", "primary")

    @property
    def codec(self) -> AgeCodec:
        return AgeCodec([self.public], [self.secret])

    def words(self, *words: str) -> list[str]:
        """How to run this store's kb-dr."""
        return [*program(), "--env-file", str(self.env_file), *words]

    @property
    def archive_command(self) -> str:
        """The shell line that pushes into it."""
        return " ".join(self.words("wal", "push")) + ' "%p"'

    def restore_command(self, *words: str) -> str:
        """The shell line the program prints."""
        return self._printed("wal", "restore-command", *words)

    @property
    def quick_archive_command(self) -> str:
        """The shell line the program prints."""
        return self._printed("wal", "archive-command")

    def _printed(self, *words: str) -> str:
        ran = subprocess.run(self.words(*words), capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    def stored(self, name: str) -> Path:
        """The one object of a WAL file."""
        (found,) = self.directory.rglob(f"{name}-*")
        return found


@dataclass(frozen=True)
class ArchivedCluster:
    """What is left of a lost cluster: a base backup, and its WAL in a store."""

    programs: PostgresPrograms
    base: Path
    store: WalStore
    system_identifier: int
    segments: tuple[str, ...]
    """The segments that end with the first, second and third row."""
    end: Lsn
    """The end of WAL."""
    segment_bytes: int
    attempts: Path
    """Where recoveries that are to abort are tried, one after the other in one directory: what
    never opened can be started again, and copying it is most of the time such a test takes."""


def archived_cluster(
    programs: PostgresPrograms, directory: Path, *, segment_mib: int
) -> ArchivedCluster:
    """Make a cluster, back it up, add three rows in a segment each, and lose it."""
    store = WalStore.make(directory / "store")
    data = directory / "source" / "data"
    data.parent.mkdir(parents=True)
    make_cluster(programs, data, f"--wal-segsize={segment_mib}")
    sizes = {"min_wal_size": f"{4 * segment_mib}MB", "max_wal_size": f"{8 * segment_mib}MB"}
    with RunningCluster(
        programs, directory / "source", archive_command=store.archive_command, settings=sizes
    ) as source:
        source.query("create table kept (n int)")
        base = directory / "base"
        programs.run(
            "pg_basebackup",
            *("-D", base, "-X", "none", "-c", "fast", "--no-sync", "-d", source.conninfo()),
        )
        segments = []
        for number in range(1, ROWS + 1):
            source.query(f"insert into kept values ({number})")
            segments.append(source.archive_everything())
        at = source.value("select pg_current_wal_lsn()")
        identifier = source.system_identifier
        source.lose()
    size = segment_mib * 1024 * 1024
    return ArchivedCluster(
        programs,
        base,
        store,
        identifier,
        tuple(segments),
        Lsn(Lsn.parse(at) // size * size),
        size,
        directory / "attempts",
    )


@pytest.fixture(scope="session")
def archived_cluster_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[int], ArchivedCluster]]:
    """One lost cluster of each major version that is asked for, with segments of 1 MiB."""
    made: dict[int, ArchivedCluster] = {}
    directory = tmp_path_factory.mktemp("archived")

    def archived(major: int) -> ArchivedCluster:
        if major not in made:
            made[major] = archived_cluster(
                programs_of(major), directory / str(major), segment_mib=1
            )
        return made[major]

    yield archived
    shutil.rmtree(directory)


@pytest.fixture(scope="module", params=[14, 15, 16, 17, 18])
def archived(
    request: pytest.FixtureRequest, archived_cluster_of: Callable[[int], ArchivedCluster]
) -> ArchivedCluster:
    """The lost cluster of each major version, one after the other; damage only copies of it."""
    return archived_cluster_of(request.param)


@dataclass(frozen=True)
class Recovered:
    """How a recovery ended."""

    rows: tuple[int, ...] | None
    """What was in the table, when the cluster opened; None when recovery was aborted."""
    log: str
    history: str = ""
    """The history of the timeline it opened on, which says where replay ended."""

    @property
    def opened(self) -> bool:
        """Whether the cluster opened for writing, if only for a moment."""
        return self.rows is not None or bool(self.history)

    def require_abort(self) -> None:
        """Our command ended it, before it opened and before it took a timeline of its own."""
        assert not self.opened, self.log
        assert "selected new timeline ID" not in self.log, self.log
        assert _ABORTED in self.log, self.log


def recover(
    archived: ArchivedCluster, directory: Path, restore_command: str, **settings: str
) -> Recovered:
    """Recover the base backup with this command, and see whether the cluster opens."""
    with recovering(archived, directory, restore_command, **settings) as cluster:
        histories = sorted((cluster.data / "pg_wal").glob("*.history"))
        history = histories[-1].read_text() if histories else ""
        if not cluster.running:
            return Recovered(None, cluster.said, history)
        rows = tuple(row[0] for row in cluster.query("select n from kept order by n"))
        return Recovered(rows, cluster.said, history)


class _Recovering(RunningCluster):
    """A cluster whose start may end in an aborted recovery."""

    running = False
    _said_before = 0

    @property
    def said(self) -> str:
        """What its log says since this start."""
        return self.log.read_bytes()[self._said_before :].decode()

    def start_recovery(self) -> None:
        """Return when it has opened, or has ended."""
        with self.log.open("ab") as log:
            self._said_before = log.tell()
            self._process = self.programs.unprivileged.start(
                [self.programs.path("postgres"), "-D", self.data],
                env=self.programs.environment(),
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                self.query("select 1")
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                self.running = True
                return


@contextmanager
def recovering(
    archived: ArchivedCluster, directory: Path, restore_command: str, **settings: str
) -> Iterator[_Recovering]:
    """The cluster that comes of it, open or ended; gone after the block."""
    data = directory / "data"
    if not data.exists():
        shutil.copytree(archived.base, data)
        data.chmod(0o700)
        (data / "recovery.signal").touch()
    recovery = {
        "restore_command": restore_command,
        "archive_mode": "off",
        # So that it takes connections only once it has opened.
        "hot_standby": "off",
        **settings,
    }
    cluster = _Recovering(archived.programs, directory, settings=recovery)
    cluster.configure()
    try:
        cluster.start_recovery()
        yield cluster
    finally:
        cluster.close()
        if cluster.running or directory != archived.attempts:
            shutil.rmtree(data)
