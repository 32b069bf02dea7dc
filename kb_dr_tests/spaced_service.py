"""A service whose cluster has filled tablespaces, with awkward names and paths."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyrage

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.manifest import Manifest
from kb_dr.operations.catalog import readable
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.protected_service import Service, shell_line

NAME = 'a "side" \\ one'
PLACE = 'a \\ "place"\nof two lines, and ' + "a long name " * 8
"""Awkward, and longer than the path of a link may be in a tar."""
ROWS = 20_000
CONTENT = "select count(*), md5(string_agg(word, ',' order by n)) from aside"


class Spaced(Service):
    """A service whose cluster has a filled tablespace."""

    def __init__(self, directory: Path, settings: dict[str, str], cluster: RunningCluster) -> None:
        super().__init__(directory, settings)
        self.cluster = cluster

    def make_space(self, name: str, place: str) -> Path:
        """Create a tablespace."""
        return make_space(self.cluster, name, self.directory / "spaces" / place)

    def settled(self) -> dict[str, tuple[int, str]]:
        """What stands in the tablespaces, once the server has nothing more to write there."""
        self.cluster.query("checkpoint")
        return contents(self.directory / "spaces")

    def manifest(self) -> Manifest:
        """The newest backup's."""
        opened = self.opened()
        return opened.whole(readable(opened.catalog("primary"))[-1]).manifest

    def scratch_is_empty(self) -> bool:
        scratch = self.directory / "scratch"
        return not scratch.exists() or list(scratch.iterdir()) == []


def make_space(cluster: RunningCluster, name: str, place: Path) -> Path:
    place.mkdir(mode=0o700, parents=True)
    cluster.programs.unprivileged.give(place)
    cluster.query(
        psycopg.sql.SQL("create tablespace {} location {}")
        .format(psycopg.sql.Identifier(name), psycopg.sql.Literal(str(place)))
        .as_string()
    )
    return place


def contents(directory: Path) -> dict[str, tuple[int, str]]:
    """Every file and directory: when it was changed, and the digest of what it holds."""
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(directory.rglob("*"))
    }


@contextmanager
def spaced(programs: PostgresPrograms, directory: Path) -> Iterator[Spaced]:
    with RunningCluster(programs, directory / "source", settings={"autovacuum": "off"}) as cluster:
        identity = pyrage.x25519.Identity.generate()
        key = directory / "kb.agekey"
        key.write_text(f"{identity}\n")
        for copy in ("primary", "offsite"):
            (directory / copy).mkdir()
        service = Spaced(
            directory,
            {
                "KB_DB_HOST": str(cluster.sockets),
                "KB_DB_NAME": "postgres",
                "KB_DB_USER": "postgres",
                "KB_DR_REPOSITORY_URL": str(directory / "primary"),
                "KB_DR_OFFSITE_URL": str(directory / "offsite"),
                "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
                "KB_DR_AGE_IDENTITY_FILE": str(key),
                "KB_DR_POSTGRES_BIN_DIRS": str(programs.bin_dir),
                "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
                "KB_DR_STATE_DIR": str(directory / "state"),
                "KB_DR_CHUNK_MIB": "1",
            },
            cluster,
        )
        service.run("init").require(0)
        fill(cluster, 300)
        service.make_space(NAME, PLACE)
        service.make_space("second", "second")
        cluster.query(
            "create table aside (n int primary key, word text)"
            f" tablespace {psycopg.sql.Identifier(NAME).as_string()}"
        )
        cluster.query(f"insert into aside select n, md5(n::text) from generate_series(1, {ROWS}) n")
        cluster.query("create index aside_word on aside (word) tablespace second")
        cluster.archive_with(shell_line(service.words("wal", "push")) + ' "%p"')
        yield service


def content(cluster: RunningCluster) -> list[tuple[object, ...]]:
    """The rows in the tablespace."""
    return cluster.query(CONTENT)
