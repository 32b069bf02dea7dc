"""A cluster whose WAL leaves it by a stream alone, and what watches the stream."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pyrage

from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.lsn import Lsn
from kb_dr.operations.listed_wal import list_wal
from kb_dr.operations.partial_wal import open_partials
from kb_dr_tests.postgres_servers import START_SECONDS, RunningCluster, fill
from kb_dr_tests.protected_service import Said, Service

EVERY = "0.2"
"""How often the tests' streams look, in seconds."""


class StreamedService(Service):
    """Two repositories in directories, or elsewhere; ``archive_mode`` of the cluster is off."""

    def __init__(self, directory: Path, cluster: RunningCluster, **settings: str) -> None:
        identity = pyrage.x25519.Identity.generate()
        directory.mkdir(parents=True)
        key = directory / "kb.agekey"
        key.write_text(f"{identity}\n")
        super().__init__(
            directory,
            {
                "KB_DB_HOST": str(cluster.sockets),
                "KB_DB_NAME": "postgres",
                "KB_DB_USER": "postgres",
                "KB_DR_REPOSITORY_URL": str(directory / "primary"),
                "KB_DR_OFFSITE_URL": str(directory / "offsite"),
                "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
                "KB_DR_AGE_IDENTITY_FILE": str(key),
                "KB_DR_POSTGRES_BIN_DIRS": str(cluster.programs.bin_dir),
                "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
                "KB_DR_STATE_DIR": str(directory / "state"),
                **settings,
            },
        )
        self.cluster = cluster
        self.system_identifier = cluster.system_identifier
        self.run("init").require(0)

    @property
    def spool(self) -> Path:
        """What the stream has received and not yet brought away."""
        return self.directory / "state" / "wal-stream" / "kb_dr" / "wal"

    def place(self, copy: str) -> DirectoryRepository:
        """One of the repositories."""
        return DirectoryRepository(self.directory / copy, copy)

    def segments(self, copy: str) -> list[str]:
        """The full segments that stand in one copy."""
        found = list_wal(self.place(copy), self.system_identifier)
        return [each.name for each in found if len(each.name) == 24]

    def upto(self, copy: str) -> Lsn:
        """How far what was streamed into one copy reaches; 0: nothing of an open segment is."""
        found = open_partials(self.place(copy), self.system_identifier)
        return max((each.upto for each in found), default=Lsn(0))

    @contextmanager
    def streaming(self, *words: str, **settings: str) -> Iterator["Stream"]:
        """`kb-dr wal stream` while the block runs; SIGTERM ends it."""
        stream = Stream(self.start("wal", "stream", "--every", EVERY, *words, **settings))
        try:
            yield stream
        finally:
            stream.close()


class Stream:
    """A running `kb-dr wal stream`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def said(self) -> str:
        """What it has logged so far."""
        return "".join(self._lines)

    def wait_to_say(self, text: str) -> None:
        """Wait until it has logged this."""
        wait_until(lambda: text in self.said, lambda: f"never said {text!r}:\n{self.said}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> Said:
        """End it, and return how it ended."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait()

    def wait(self) -> Said:
        """Wait until it ends by itself."""
        try:
            status = self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it does not end:\n{self.said}") from error
        self._listener.join(START_SECONDS)
        return Said(status, "", self.said)

    def close(self) -> None:
        """Whatever happened, it is gone."""
        try:
            self.end()
        finally:
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)


class Load:
    """Commits numbered rows one after the other while its block runs, and remembers each."""

    def __init__(self, cluster: RunningCluster, *, first: int = 1) -> None:
        self.acknowledged: list[tuple[int, Lsn, float]] = []
        """Number, a position of the WAL behind its commit, when it was acknowledged."""
        self._cluster = cluster
        self._next = first
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._cluster.query("create table if not exists ledger (n int primary key, pad text)")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(START_SECONDS)

    def wait_for(self, more: int) -> None:
        """Wait until so many more rows are committed."""
        wanted = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= wanted, lambda: "the load stands still")

    def _run(self) -> None:
        try:
            with psycopg.connect(self._cluster.conninfo(), autocommit=True) as connection:
                while not self._over.is_set():
                    connection.execute(
                        "insert into ledger values (%s, repeat(md5(random()::text), 30))",
                        (self._next,),
                    )
                    row = connection.execute("select pg_current_wal_insert_lsn()").fetchone()
                    assert row is not None
                    self.acknowledged.append((self._next, Lsn.parse(row[0]), time.monotonic()))
                    self._next += 1
        except psycopg.OperationalError:
            return  # the server was killed


def wait_until(holds: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)


@contextmanager
def streamed_cluster(
    programs: PostgresPrograms, directory: Path, **settings: str
) -> Iterator[RunningCluster]:
    """A cluster that archives nothing itself, with a little in it."""
    settings = {"archive_mode": "off", "wal_keep_size": "64MB", **settings}
    with RunningCluster(programs, directory, settings=settings) as cluster:
        fill(cluster, 50)
        yield cluster
