"""Backup, restore, check and proof of each contestant, in turn, round after round."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from kb_dr_tests.bench.contest import Try, Work
from kb_dr_tests.bench.contestants.contestant import Command, Contestant
from kb_dr_tests.bench.contestants.stored import bytes_below
from kb_dr_tests.bench.site import DATABASE, Site
from kb_dr_tests.bench.started_server import started
from kb_dr_tests.bench.usage import Ran, clean_environment, run
from kb_dr_tests.bench.whole_tree import Stopwatch

Say = Callable[[str], None]

TOLD_BYTES = 500 << 20
"""Plain; above it a round more would take minutes, to say what follows from a smaller one."""

_LOOK_SECONDS = 0.02
_QUIET_SECONDS = 600.0
_REQUEST = re.compile(
    rb"serve s3: (CREATE|GET|HEAD|LIST|DELETE|COPY|initiate|put|complete|abort)", re.IGNORECASE
)
"""One line of rclone's log for each request."""


def measure_contest(
    site: Site,
    store: str,
    contestants: Sequence[Contestant],
    rounds: int,
    say: Say,
    *,
    durable: bool = True,
) -> list[Try]:
    """All tries of one size on one store; nothing of them is left on disk.

    In each round everybody starts with an empty repository, and does all works; what is left of one
    is gone before the next begins, and somebody else begins in each round. On S3, up to
    TOLD_BYTES, one more round, which does not count for anything else, is run by a server that says
    what it is asked; it leaves out the proof, whose requests are those of the restore.
    """
    plain_bytes = data_bytes(site)
    contest = _Contest(site, store, plain_bytes, durable, say)
    tries: list[Try] = []
    for number in range(1, rounds + 1):
        turn = (number - 1) % len(contestants)
        tries += contest.round(number, [*contestants[turn:], *contestants[:turn]])
    if store.startswith("S3") and plain_bytes <= TOLD_BYTES:
        say(f"{store}, {plain_bytes >> 20} MiB: one more, of which requests are counted")
        with site.s3_of(store).telling_requests():
            contest.telling = True
            told = contest.round(0, contestants, proofs=False)
        asked = {(each.work, each.contestant): each.requests for each in told}
        tries = [replace(each, requests=asked.get((each.work, each.contestant))) for each in tries]
    return tries


def data_bytes(site: Site) -> int:
    """What the data directory takes, its WAL left out: the same for all."""
    return bytes_below(site.cluster.data) - bytes_below(site.cluster.data / "pg_wal")


def wait_until_archived(site: Site) -> None:
    """Return once no segment waits for the archiver."""
    status = site.cluster.data / "pg_wal" / "archive_status"
    deadline = time.monotonic() + _QUIET_SECONDS
    while any(status.glob("*.ready")):
        assert time.monotonic() < deadline, site.cluster.log.read_text()[-3000:]
        time.sleep(_LOOK_SECONDS)


@contextmanager
def archiving(site: Site, command: str) -> Iterator[None]:
    """The site archives so while the block runs; afterwards all is archived, and nothing kept."""
    site.cluster.archive_with(command)
    try:
        yield
        wait_until_archived(site)
    finally:
        site.cluster.archive_with("/bin/true")
        # The archiver itself learns of it a moment later: it must not run what is gone by then.
        site.cluster.switch_wal()
        wait_until_archived(site)


class _Contest:
    def __init__(self, site: Site, store: str, plain_bytes: int, durable: bool, say: Say) -> None:
        self._site = site
        self._store = store
        self._plain_bytes = plain_bytes
        self._durable = durable
        self._say = say
        self._number = 0
        self.telling = False
        """Whether the S3 server writes down each request."""

    def round(
        self, number: int, contestants: Sequence[Contestant], *, proofs: bool = True
    ) -> list[Try]:
        """Each work of each, one contestant after the other."""
        self._number = number
        works = [self._backup, self._restore, self._check, *([self._prove] if proofs else [])]
        found: list[Try] = []
        for each in contestants:
            name = each.facts.name
            self._say(f"{self._store}, {self._plain_bytes >> 20} MiB, round {number}: {name}")
            try:
                each.prepare()
                found += filter(None, [work(each) for work in works])
            finally:
                each.forget()
        return found

    def _backup(self, contestant: Contestant) -> Try:
        before = contestant.stored_bytes()
        with archiving(self._site, contestant.archive_command()):
            wait_until_archived(self._site)
            with self._work(Work.BACKUP, contestant) as work:
                ran = self._run(contestant.backup())
                work.watch.stop()
                # Who does not wait for the archive has that work done all the same.
                wait_until_archived(self._site)
        return replace(work.try_(ran.peak_bytes), stored_bytes=contestant.stored_bytes() - before)

    def _restore(self, contestant: Contestant) -> Try:
        rows = self._site.cluster.query("select count(*) from chunks", database=DATABASE)
        with self._target() as target, self._work(Work.RESTORE, contestant) as work:
            ran = self._run(contestant.restore(target))
            programs = self._site.cluster.programs
            with started(programs, target, durable=self._durable) as conninfo:
                work.watch.stop()
                _require_rows(conninfo, rows)
        return work.try_(ran.peak_bytes)

    def _check(self, contestant: Contestant) -> Try | None:
        command = contestant.check()
        return None if command is None else self._measured(Work.CHECK, contestant, command)

    def _prove(self, contestant: Contestant) -> Try:
        with self._target() as target:
            return self._measured(Work.PROOF, contestant, contestant.prove(target))

    def _measured(self, which: Work, contestant: Contestant, command: Command) -> Try:
        with self._work(which, contestant) as work:
            ran = self._run(command)
            work.watch.stop()
        return work.try_(ran.peak_bytes)

    @contextmanager
    def _target(self) -> Iterator[Path]:
        target = self._site.directory / "restored"
        target.mkdir(mode=0o700)
        try:
            yield target
        finally:
            shutil.rmtree(target, ignore_errors=True)

    @contextmanager
    def _work(self, work: Work, contestant: Contestant) -> Iterator["_Working"]:
        os.sync()
        working = _Working(self._site, self._store, work, contestant.facts.name, self)
        yield working
        working.end()

    def _run(self, command: Command) -> Ran:
        environment = {**clean_environment(), **command.environment}
        return run(command.words, env=environment, cwd=self._site.directory, watch_memory=True)

    def try_of(self, work: Work, name: str) -> Try:
        """An empty one, of this round."""
        return Try(work, name, self._store, self._plain_bytes, self._number, 0.0, 0.0, 0)


class _Working:
    """One piece of work under way."""

    def __init__(self, site: Site, store: str, work: Work, name: str, contest: _Contest) -> None:
        # A server that is not told to says nothing: that is no count of 0.
        told = contest.telling
        self._log = site.s3_of(store).directory / "server.log" if told else None
        self._log_bytes = self._log.stat().st_size if self._log else 0
        self._begun = contest.try_of(work, name)
        self._cpu_seconds = 0.0
        self._requests: int | None = None
        self.watch = Stopwatch()

    def end(self) -> None:
        """All that belongs to it has ended."""
        self._cpu_seconds = self.watch.cpu_seconds()
        if self._log is not None:
            self._requests = _requests_in(self._log, self._log_bytes)

    def try_(self, peak_bytes: int) -> Try:
        """What it took."""
        return replace(
            self._begun,
            seconds=self.watch.seconds,
            cpu_seconds=self._cpu_seconds,
            peak_bytes=peak_bytes,
            requests=self._requests,
        )


def _requests_in(log: Path, offset: int) -> int:
    with log.open("rb") as stream:
        stream.seek(offset)
        return sum(1 for line in stream if _REQUEST.search(line))


def _require_rows(conninfo: str, rows: list[tuple[object, ...]]) -> None:
    """A restore that is quick because it leaves rows out does not count."""
    with psycopg.connect(conninfo.replace("dbname=postgres", f"dbname={DATABASE}")) as connection:
        assert connection.execute("select count(*) from chunks").fetchall() == rows
