"""A service whose database was dumped by the command itself, into a repository in a directory."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyrage
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.operations.catalog import read_manifest
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.protected_service import Service

DATABASE = "kb"
ENTRIES = 300

_MORE = (
    "create role kb_app login",
    "create role kb_reader",
    "grant kb_reader to kb_app",
    # A name that must be quoted wherever it is used.
    'create schema "Wissen; drop"',
    'create table "Wissen; drop"."Ort ""é"" %s" ("Schlüssel" int primary key, "a b" text)',
    'insert into "Wissen; drop"."Ort ""é"" %s" select i, \'x\' || i from generate_series(1, 40) i',
    "create table notes (entry bigint references knowledge_entries, body text)",
    "insert into notes select i, repeat('n', 50) from generate_series(1, 100) i",
    "alter table organizations owner to kb_app",
    "grant select on knowledge_entries to kb_reader",
    "create view long_titles as select id from knowledge_entries where length(title) > 10",
    "create table nothing_in_it (id int primary key)",
    "select lo_from_bytea(0, convert_to(repeat('large object', 1000), 'UTF8'))",
)


class DumpedService(Service):
    """A running server with one dump in `primary`; `offsite` is initialised and empty."""

    def __init__(self, directory: Path, settings: dict[str, str], cluster: RunningCluster) -> None:
        super().__init__(directory, settings)
        self.cluster = cluster
        """Database DATABASE, with the tables of fill() and more. Only read it."""

    @property
    def stored(self) -> StoredManifest:
        """The dump, as the primary repository has it."""
        backup = BackupId.parse(self.backup_id)
        return read_manifest(self.opened().repository("primary"), backup)

    backup_id: str = ""
    """The dump's id."""

    def copied(self, directory: Path) -> "DumpedService":
        """The same dump in repositories of its own, primary and offsite, to be damaged; on the
        same server."""
        settings = self.settings | places(directory)
        for name in ("primary", "offsite"):
            shutil.copytree(self.directory / "primary", directory / name)
        service = DumpedService(directory, settings, self.cluster)
        service.backup_id = self.backup_id
        return service

    def chunk(self, copy: str = "primary") -> Path:
        """The file of the dump's first chunk."""
        return self.directory / copy / self.stored.manifest.chunks[0].key


def places(directory: Path) -> dict[str, str]:
    """Where an installation below this directory keeps what it has."""
    return {
        "KB_DR_REPOSITORY_URL": str(directory / "primary"),
        "KB_DR_OFFSITE_URL": str(directory / "offsite"),
        "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
        "KB_DR_STATE_DIR": str(directory / "state"),
    }


def dumped(
    programs: PostgresPrograms, directory: Path, stack: ExitStack, *, entries: int = ENTRIES
) -> DumpedService:
    """Set one up: cluster, database, repositories, and the dump."""
    cluster = stack.enter_context(RunningCluster(programs, directory / "source"))
    cluster.query(f"create database {DATABASE}")
    fill(cluster, entries, database=DATABASE)
    for statement in _MORE:
        cluster.query(statement, database=DATABASE)
    identity = pyrage.x25519.Identity.generate()
    key = directory / "kb.agekey"
    key.write_text(f"{identity}\n")
    service = DumpedService(
        directory,
        {
            "KB_DB_HOST": str(cluster.sockets),
            "KB_DB_NAME": DATABASE,
            "KB_DB_USER": "postgres",
            "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
            "KB_DR_AGE_IDENTITY_FILE": str(key),
            "KB_DR_POSTGRES_BIN_DIRS": str(programs.bin_dir),
            "KB_DR_CHUNK_MIB": "1",
            "KB_DR_TRANSFERS": "2",
            **places(directory),
        },
        cluster,
    )
    service.run("init").require(0)
    service.run("backup", "dump").require(0)
    (found,) = (directory / "primary" / "dump").iterdir()
    service.backup_id = f"kb-dump-{found.name}"
    return service


@pytest.fixture(scope="session")
def dumped_service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DumpedService]:
    """One for all tests of a run: only read it, or take copied()."""
    with ExitStack() as stack:
        yield dumped(postgres_programs, tmp_path_factory.mktemp("dumped"), stack)
