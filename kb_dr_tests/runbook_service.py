"""A whole site for the documents to be typed on: production, two regions, a person's shell."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pyrage

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.protected_service import Service, environment, shell_line
from kb_dr_tests.recoverable import make_ledger
from kb_dr_tests.typed_documents import Shell, end_server

BUCKETS = {"primary": "kb-backups", "offsite": "kb-backups-elsewhere"}
ENTRIES = 300
_OF_A_MACHINE = ("scratch", "state")


class Site(Service):
    """One protected service, and everything a runbook has a name for."""

    def __init__(
        self,
        directory: Path,
        settings: dict[str, str],
        cluster: RunningCluster,
        regions: dict[str, RcloneStore],
        identity: Path,
    ) -> None:
        super().__init__(directory, settings)
        self.cluster = cluster
        self.regions = regions
        self.identity = identity
        self.person = Path(tempfile.mkdtemp(prefix="kbdr-doc-", dir="/tmp"))
        """The working directory of who types; short, as sockets lie in it."""

    def placeholders(self, moment: datetime | None = None) -> dict[str, str]:
        """What the documents tell a person to export."""
        host = str(self.person / "look")
        return {
            "KB_DR_ENV_FILE": str(self.env_file),
            "IDENTITY": str(self.identity),
            "DATA": str(self.cluster.data),
            "TARGET": str(self.person / "restored"),
            "SOCKETS": host,
            "PRODUCTION": self.cluster.conninfo(),
            "RESTORED": f"host={host} port=5499 dbname=postgres user=postgres",
        } | ({} if moment is None else {"MOMENT": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"})

    @contextmanager
    def shell(self, placeholders: dict[str, str]) -> Iterator[Shell]:
        """A shell with the programs in its PATH; servers started in it are ended behind it."""
        binaries = self.person / "bin"
        binaries.mkdir(exist_ok=True)
        program = binaries / "kb-dr"
        if not program.exists():
            program.symlink_to(Path(sys.executable).with_name("kb-dr"))
        programs = self.cluster.programs
        given = environment({}) | programs.environment() | placeholders
        given["PATH"] = f"{binaries}:{programs.bin_dir}:{os.environ['PATH']}"
        given["HOME"] = str(self.person)
        try:
            with Shell(given, self.person) as shell:
                yield shell
        finally:
            for data in (Path(given["TARGET"]), Path(given["DATA"])):
                end_server(data)

    def archive(self) -> None:
        """Everything production has committed stands in both regions."""
        self.cluster.archive_everything()
        self.run("copy").require(0)

    def lose_region(self, copy: str) -> None:
        """A region burns: nothing answers, nothing is left."""
        self.regions[copy].stop()
        shutil.rmtree(self.regions[copy].buckets)

    def moved_to(self, machine: Path) -> dict[str, str]:
        """A new machine with the settings file and the identity; all else of the old one is gone.

        What a person exports there.
        """
        machine.mkdir()
        shutil.copyfile(self.env_file, machine / "kb-dr.env")
        shutil.copyfile(self.identity, machine / "paper.agekey")
        self.identity.unlink()
        for left in (self.directory, *(self.directory.parent / each for each in _OF_A_MACHINE)):
            shutil.rmtree(left, ignore_errors=True)
        return self.placeholders() | {
            "KB_DR_ENV_FILE": str(machine / "kb-dr.env"),
            "IDENTITY": str(machine / "paper.agekey"),
            "DATA": str(machine / "main"),
            "TARGET": str(machine / "restored"),
        }

    def keys(self, copy: str) -> set[str]:
        """Every object of one region."""
        root = self.regions[copy].buckets / BUCKETS[copy]
        return {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()}


@contextmanager
def running_site(programs: PostgresPrograms, directory: Path) -> Iterator[Site]:
    """Production with rows and a backup of them in both regions, until the block is left."""
    with ExitStack() as stack:
        regions = {}
        for copy, bucket in BUCKETS.items():
            regions[copy] = stack.enter_context(RcloneStore(directory / copy))
            regions[copy].make_bucket(bucket)
        cluster = stack.enter_context(
            RunningCluster(
                programs,
                directory / "source",
                settings={"track_commit_timestamp": "on", "archive_timeout": "300"},
            )
        )
        key = pyrage.x25519.Identity.generate()
        identity = directory / "kb.agekey"
        identity.write_text(f"{key}\n")
        identity.chmod(0o600)
        settings = {
            "KB_DB_HOST": str(cluster.sockets),
            "KB_DB_NAME": "postgres",
            "KB_DB_USER": "postgres",
            "KB_DR_SOURCE_DATA_DIRECTORY": str(cluster.data),
            "KB_DR_AGE_RECIPIENTS": str(key.to_public()),
            "KB_DR_AGE_IDENTITY_FILE": str(identity),
            "KB_DR_POSTGRES_BIN_DIRS": str(programs.bin_dir),
            "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
            "KB_DR_STATE_DIR": str(directory / "state"),
            "KB_DR_CRITICAL_TABLES": "knowledge_entries",
        }
        for copy, stem in (("primary", "KB_DR_REPOSITORY"), ("offsite", "KB_DR_OFFSITE")):
            settings |= {
                f"{stem}_URL": f"s3://{BUCKETS[copy]}/org",
                f"{stem}_ENDPOINT_URL": regions[copy].endpoint_url,
                f"{stem}_ACCESS_KEY_ID": regions[copy].access_key_id,
                f"{stem}_SECRET_ACCESS_KEY": regions[copy].secret_access_key,
            }
        site = Site(directory / "here", settings, cluster, regions, identity)
        stack.callback(shutil.rmtree, site.person, ignore_errors=True)
        site.run("init").require(0)
        fill(cluster, ENTRIES)
        make_ledger(cluster)
        cluster.archive_with(shell_line(site.words("wal", "push")) + ' "%p"')
        site.run("backup", "full", "--copy").require(0)
        yield site


def just_after(at: datetime) -> datetime:
    """A moment that has this commit, and not the next one."""
    return at + timedelta(microseconds=1)
