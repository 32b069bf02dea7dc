"""A site to measure on: a PostgreSQL with data like the real one, S3 servers, a directory."""

import os
import shlex
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
import pyrage
from numpy.typing import NDArray
from pgvector.psycopg import register_vector

from kb_dr.cli.program import program
from kb_dr.sandbox.content import DIMENSIONS, entries
from kb_dr_tests.bench.s3_servers import SecuredRcloneStore, TellingRcloneStore
from kb_dr_tests.bench.usage import clean_environment, run
from kb_dr_tests.postgres_servers import RunningCluster, programs_of

DATABASE = "kb"
BUCKET = "bench"
OVER_TLS = "S3 over TLS"
STORES = ("directory", "S3", OVER_TLS)
MAJOR = 15
"""The newest PostgreSQL that Debian's pgBackRest knows."""
VECTOR = "vector"
REALS = "real[]"
"""Where the programs have no pgvector: the same numbers, four bytes each."""

_SETTINGS = {
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "min_wal_size": "1GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "wal_compression": "off",
}
_SEED_ENTRIES = 10_000
"""About 25 MB: far more than zstd looks back at this level, so copies of it compress no better."""
_INDEXED_ENTRIES = 2_000
_ARRAY_HEAD = struct.Struct(">iiIii")
_REAL_OID = 700


@dataclass
class Site:
    """Everything runs on loopback and sockets, below one directory that is removed at the end."""

    directory: Path
    cluster: RunningCluster
    s3: TellingRcloneStore
    recipient: str
    identity_file: Path
    secured: SecuredRcloneStore | None = None
    """The same kind of server behind TLS, with a certificate of the bench's own authority."""
    vectors: str = VECTOR
    """The type of the embeddings: VECTOR or REALS."""

    def s3_of(self, store: str) -> TellingRcloneStore:
        """The server of that kind of store."""
        if store != OVER_TLS:
            return self.s3
        assert self.secured is not None, "this site has no S3 server behind TLS"
        return self.secured

    @property
    def trust(self) -> Mapping[str, str]:
        """What programs are given in their environment to trust the bench's own authority."""
        return {} if self.secured is None else self.secured.trust

    @property
    def postmaster(self) -> int:
        """The process id of the PostgreSQL under protection."""
        return int((self.cluster.data / "postmaster.pid").read_text().split()[0])

    def servers(self, store: str, *, postgres: bool) -> tuple[int, ...]:
        """Processes that work for a command, by id."""
        found = [self.postmaster] if postgres else []
        if store.startswith("S3"):
            found += [
                child.pid for child in psutil.Process().children() if child.name() == "rclone"
            ]
        return tuple(found)

    def env_file(self, store: str, org: str) -> Path:
        """Make a new repository; return the settings file of an installation on it."""
        place = self.directory / f"{store}-{org}"
        place.mkdir()
        lines = {
            "KB_DB_HOST": str(self.cluster.sockets),
            "KB_DB_NAME": DATABASE,
            "KB_DB_USER": "postgres",
            "KB_DR_ORG": org,
            "KB_DR_AGE_RECIPIENTS": self.recipient,
            "KB_DR_AGE_IDENTITY_FILE": str(self.identity_file),
            "KB_DR_STATE_DIR": str(place / "state"),
            "KB_DR_SCRATCH_DIR": str(place / "scratch"),
            "KB_DR_POSTGRES_BIN_DIRS": str(self.cluster.programs.bin_dir),
        }
        if store.startswith("S3"):
            s3 = self.s3_of(store)
            lines |= {
                "KB_DR_REPOSITORY_URL": f"s3://{BUCKET}/{org}",
                "KB_DR_REPOSITORY_ENDPOINT_URL": s3.endpoint_url,
                "KB_DR_REPOSITORY_ACCESS_KEY_ID": s3.access_key_id,
                "KB_DR_REPOSITORY_SECRET_ACCESS_KEY": s3.secret_access_key,
            }
        else:
            (place / "repository").mkdir()
            lines["KB_DR_REPOSITORY_URL"] = str(place / "repository")
        file = place / "kb_dr.env"
        file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        file.chmod(0o600)
        run(self.kb_dr(file, "init"), env={**clean_environment(), **self.trust}, cwd=place)
        return file

    def forget(self, store: str, org: str) -> None:
        """Remove a repository and what lies beside it."""
        shutil.rmtree(self.directory / f"{store}-{org}", ignore_errors=True)
        if store.startswith("S3"):
            shutil.rmtree(self.s3_of(store).buckets / BUCKET / org, ignore_errors=True)

    def kb_dr(self, env_file: Path, *words: str) -> list[str]:
        """The words of one command."""
        return [*program(), "--env-file", str(env_file), *words]

    def archive_into(self, env_file: Path) -> None:
        """Let the server archive there from now on."""
        self.cluster.archive_with(shlex.join(self.kb_dr(env_file, "wal", "push")) + " %p")

    def database_bytes(self) -> int:
        """What the database takes on disk."""
        return int(self.cluster.value("select pg_database_size(%s)", [DATABASE]))

    def fill_to(self, mib: int) -> None:
        """Grow the database to about that size; it never shrinks."""
        wanted = mib << 20
        with psycopg.connect(self.cluster.conninfo(DATABASE), autocommit=True) as connection:
            while (missing := wanted - self.database_bytes()) > 0:
                found = connection.execute(
                    "select coalesce(max(id), 0), greatest(pg_table_size('chunks'), 1) from chunks"
                ).fetchone()
                assert found is not None
                newest, size = found
                part = min(1.0, missing / size) if newest else 1.0
                # Below a page or two of what is wanted there is no use in going on.
                if part < 0.005:
                    break
                connection.execute(
                    "insert into chunks select id + %s, title, body, embedding, updated_at"
                    " from chunks where id <= %s",
                    [newest, int(newest * part)],
                )
            # Nothing asks for statistics, and those of 384 numbers a row take most of the minutes.
            connection.execute("vacuum (freeze)")
            connection.execute("checkpoint")
        os.sync()

    def prepare(self, seed_entries: int = _SEED_ENTRIES) -> None:
        """Make the schema and the first rows."""
        self.cluster.query(f"create database {DATABASE}")
        with psycopg.connect(self.cluster.conninfo(DATABASE), autocommit=True) as connection:
            if self.vectors == VECTOR:
                connection.execute("create extension vector")
                register_vector(connection)
            connection.execute("create table alembic_version (version_num varchar(32))")
            connection.execute("insert into alembic_version values ('bench')")
            column = f"vector({DIMENSIONS})" if self.vectors == VECTOR else "real[]"
            connection.execute(
                "create table chunks (id bigint primary key, title text not null, body text"
                f" not null, embedding {column} not null, updated_at timestamptz)".encode()
            )
            if self.vectors == REALS:
                # As pgvector keeps its own: never compressed.
                connection.execute("alter table chunks alter embedding set storage external")
            self._copy(connection, seed_entries)
            connection.execute(
                b"create table knowledge_entries as select * from chunks where id <= %d"
                % _INDEXED_ENTRIES
            )
            connection.execute("alter table knowledge_entries add primary key (id)")
            if self.vectors == VECTOR:
                connection.execute(
                    "create index on knowledge_entries using hnsw (embedding vector_cosine_ops)"
                )

    def _copy(self, connection: psycopg.Connection[Any], seed_entries: int) -> None:
        columns = "chunks (id, title, body, embedding, updated_at)"
        statement = f"copy {columns} from stdin with (format binary)"
        with connection.cursor().copy(statement.encode()) as copy:
            # A binary copy sends no types: what is written as bytea goes through as it is.
            embedding = "vector" if self.vectors == VECTOR else "bytea"
            copy.set_types(["int8", "text", "text", embedding, "timestamptz"])
            for each in entries(seed_entries):
                value = each.embedding if self.vectors == VECTOR else _as_reals(each.embedding)
                copy.write_row((each.id, each.title, each.body, value, each.updated_at))


def _as_reals(embedding: NDArray[np.float32]) -> bytes:
    """How PostgreSQL sends a ``real[]``: see array_send()."""
    elements = np.empty(len(embedding), dtype=[("size", ">i4"), ("value", ">f4")])
    elements["size"], elements["value"] = 4, embedding
    return _ARRAY_HEAD.pack(1, 0, _REAL_OID, len(embedding), 1) + elements.tobytes()


@contextmanager
def running_site(
    parent: Path | None = None, *, major: int = 16, over_tls: bool = False
) -> Iterator[Site]:
    """A site that runs while the block does: of this major version of PostgreSQL."""
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="kb-dr-bench-", dir=parent))
        )
        identity = pyrage.x25519.Identity.generate()
        identity_file = directory / "identity"
        identity_file.write_text(f"{identity}\n")
        identity_file.chmod(0o600)
        s3 = stack.enter_context(TellingRcloneStore(directory / "s3"))
        s3.make_bucket(BUCKET)
        secured = None
        if over_tls:
            secured = stack.enter_context(SecuredRcloneStore(directory / "s3-over-tls"))
            secured.make_bucket(BUCKET)
        cluster = RunningCluster(programs_of(major), directory / "source", settings=_SETTINGS)
        if secured is not None:
            # What PostgreSQL runs to archive inherits it.
            cluster.environment |= secured.trust
        stack.enter_context(cluster)
        with_vector = cluster.value(
            "select count(*) > 0 from pg_available_extensions where name = 'vector'"
        )
        yield Site(
            directory, cluster, s3, str(identity.to_public()), identity_file, secured,
            VECTOR if with_vector else REALS,
        )  # fmt: skip
