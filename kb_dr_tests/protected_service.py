"""A service protected the way README says, by the command itself, to be disturbed by faults."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.cli.program import program
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Standing
from kb_dr.installation import Installation
from kb_dr.operations.catalog import readable
from kb_dr.settings import load_settings
from kb_dr_tests.faults.s3_proxy import S3Proxy
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.spread_directories import spread

SECONDS = 240.0
"""How long a command may take on a starved machine."""
BUCKET = "kb-backups"


class Service:
    """One installation: its settings file, and `kb-dr` started with it."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self.directory = directory
        self.settings = settings
        self.env_file = directory / "kb_dr.env"
        self.write(settings)

    def write(self, settings: dict[str, str]) -> None:
        """Write the settings file."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.env_file.write_text("".join(f"{name}='{text}'\n" for name, text in settings.items()))
        self.env_file.chmod(0o600)
        if scratch := settings.get("KB_DR_SCRATCH_DIR"):
            spread(Path(scratch))

    def words(self, *words: str) -> list[str]:
        """What starts its `kb-dr`."""
        return [*program(), "--env-file", str(self.env_file), *words]

    def start(self, *words: str, **settings: str) -> "subprocess.Popen[str]":
        """Start a command; ``settings`` win over the file's."""
        return subprocess.Popen(
            self.words(*words),
            env=environment(settings),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **settings: str) -> "Said":
        """Run a command to its end."""
        return ended(self.start(*words, **settings))

    def opened(self, **settings: str) -> Installation:
        """The same in this process."""
        return Installation(load_settings(self.settings | settings))

    def backups(self, copy: str = "primary") -> list[str]:
        """The ids of the complete backups."""
        return [each.manifest.id for each in readable(self.opened().catalog(copy))]


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    status: int
    out: str
    err: str

    def require(self, status: int, *texts: str) -> "Said":
        """It ended so, said this on stderr, with a hint unless it ended well, and no traceback."""
        everything = f"exit {self.status}\n{self.out}\n{self.err}"
        assert self.status == status, everything
        assert "Traceback" not in everything, everything
        for text in texts:
            assert text in self.err, everything
        if status not in (0, 130):
            assert any(each in self.err for each in ("hint: ", "Try 'kb-dr", "Usage: ")), everything
        return self


def ended(process: "subprocess.Popen[str]") -> Said:
    """Wait for a command; it never outlives this."""
    with process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return Said(process.returncode, out, err)


def environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment with no settings but these."""
    own = {name: text for name, text in os.environ.items() if not name.startswith(("KB_", "AWS_"))}
    return own | settings


class ProtectedService(Service):
    """A running cluster, WAL and a backup in an S3 region, and a proven copy in a directory."""

    def __init__(
        self, directory: Path, settings: dict[str, str], cluster: RunningCluster, proxy: S3Proxy
    ) -> None:
        super().__init__(directory, settings)
        self.cluster = cluster
        self.proxy = proxy
        """In front of the region; heal() it after use."""
        self.segments: tuple[str, ...] = ()
        """WAL archived after the backup, oldest first."""

    def copied(self, directory: Path) -> "CopiedService":
        """Both repositories as copies in directories, to be damaged."""
        places = {
            "KB_DR_REPOSITORY_URL": str(directory / "primary"),
            "KB_DR_OFFSITE_URL": str(directory / "offsite"),
            "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
            "KB_DR_STATE_DIR": str(directory / "state"),
        }
        for name in ("primary", "offsite"):
            shutil.copytree(self.directory / "offsite", directory / name)
            for proof in (directory / name / "proofs").rglob("*.json"):
                # A green is believed only of the place it was read from.
                said = proof.read_text().replace(
                    f'"{self.directory / "offsite"}"', f'"{directory / "offsite"}"'
                )
                proof.chmod(0o600)
                proof.write_text(said)
        service = CopiedService(directory, self.settings | places)
        opened = service.opened()
        (stored,) = readable(opened.catalog("offsite"))
        service.stored = opened.whole(stored)
        service.segments = self.segments
        return service


class CopiedService(Service):
    """What may be damaged: `offsite`; `primary` stays whole."""

    stored: StoredManifest
    segments: tuple[str, ...]

    @property
    def root(self) -> Path:
        """The offsite repository."""
        return self.directory / "offsite"

    @property
    def chunk(self) -> Path:
        """The first chunk of the backup."""
        return self.root / self.stored.manifest.chunks[0].key

    def object_of(self, segment: str) -> Path:
        """The file of one stored WAL segment."""
        (found,) = self.root.glob(f"wal/*/*/{segment}-*")
        return found

    def standing(self, copy: str) -> Standing:
        """Where one copy stands."""
        return self.opened().standings(self.stored, [copy])[copy]

    def backup(self) -> BackupId:
        """The backup."""
        return self.stored.manifest.backup_id


def protect(programs: PostgresPrograms, directory: Path, stack: ExitStack) -> ProtectedService:
    """Set up a service: cluster, region, archive_command, backup, copy, proof."""
    store = stack.enter_context(RcloneStore(directory / "region"))
    store.make_bucket(BUCKET)
    proxy = stack.enter_context(S3Proxy(store.port))
    cluster = stack.enter_context(RunningCluster(programs, directory / "source"))
    identity = pyrage.x25519.Identity.generate()
    key = directory / "kb.agekey"
    key.write_text(f"{identity}\n")
    (directory / "offsite").mkdir()
    service = ProtectedService(
        directory,
        {
            "KB_DB_HOST": str(cluster.sockets),
            "KB_DB_NAME": "postgres",
            "KB_DB_USER": "postgres",
            "KB_DR_REPOSITORY_URL": f"s3://{BUCKET}/org",
            "KB_DR_REPOSITORY_ENDPOINT_URL": proxy.endpoint_url,
            "KB_DR_REPOSITORY_ACCESS_KEY_ID": store.access_key_id,
            "KB_DR_REPOSITORY_SECRET_ACCESS_KEY": store.secret_access_key,
            "KB_DR_OFFSITE_URL": str(directory / "offsite"),
            "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
            "KB_DR_AGE_IDENTITY_FILE": str(key),
            "KB_DR_POSTGRES_BIN_DIRS": str(programs.bin_dir),
            "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
            "KB_DR_STATE_DIR": str(directory / "state"),
            "KB_DR_CRITICAL_TABLES": "knowledge_entries",
            "KB_DR_CHUNK_MIB": "1",
            "KB_DR_TRANSFERS": "2",
        },
        cluster,
        proxy,
    )
    service.run("init").require(0)
    fill(cluster, 300)
    # Not to be compressed: the base backup takes several chunks.
    cluster.query("create table filler as select gen_random_uuid() from generate_series(1, 150000)")
    cluster.archive_with(shell_line(service.words("wal", "push")) + ' "%p"')
    service.run("backup", "full").require(0)
    service.segments = tuple(cluster.archive_everything() for _ in range(3))
    service.run("copy").require(0)
    service.run("verify").require(0)
    return service


def shell_line(words: Sequence[str]) -> str:
    """The words as PostgreSQL's configuration takes them; none of these holds a quote."""
    return " ".join(words)


@pytest.fixture(scope="session")
def protected_service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProtectedService]:
    """One for all tests of a run: leave its server running and its region answering."""
    with ExitStack() as stack:
        yield protect(postgres_programs, tmp_path_factory.mktemp("service"), stack)
