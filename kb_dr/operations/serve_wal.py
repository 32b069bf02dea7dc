"""Serve a recovery its WAL out of a directory, from a process that holds the keys.

The restored server gets no credentials, no identity and no network: its restore_command is a few
lines of shell that ask by leaving a name in ``asked``, and take from ``ready``. What is read here
is checked before it is laid there.

A segment is taken as another name of the same file: nothing here writes to it once it is laid
there, and PostgreSQL reuses none that replay stands at. Where that cannot be, since the file is
another user's or on another file system, it is copied.

The exit contract (DESIGN section 5; PostgreSQL, src/backend/access/transam/xlogarchive.c,
RestoreArchivedFile): an exit of 1-125 ends recovery and opens the cluster. So the script says 99
for a file that the frozen plan knows to be absent, the shell around it turns 99 into 1, and all
else, also a script that cannot be read, into 126.
"""

import errno
import itertools
import mmap
import shlex
import shutil
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kb_dr.domain.recovery import SPOOLED_SEGMENTS, RecoveryPlan, WalFile
from kb_dr.domain.wal_names import Segment, is_segment, is_wal_file
from kb_dr.domain.wal_tablespaces import CreatedTablespace, TablespaceWatch
from kb_dr.errors import KbDrError, NotEnoughSpace, RecoveryError, TargetNotReached, WalGap
from kb_dr.operations.read_plan_wal import read_plan_wal, read_plan_wal_into
from kb_dr.ports import Codec, Progress, Repository

_LOOK_SECONDS = 0.02
_TRANSFERS = 3

_SCRIPT = """\
# Written by kb-dr: hands PostgreSQL one WAL file, or says that the plan knows of none.
umask 022
spool={spool}
printf '%s\\n' "$1" > "$spool/asked/current" || exit 126
while :; do
  if [ -f "$spool/ready/$1" ]; then
    if [ -w "$spool/ready/$1" ] && ln -f "$spool/ready/$1" "$2" 2>/dev/null; then exit 0; fi
    # Never into a file that stands there: it may be one of ours, taken before.
    if rm -f "$2" && cp "$spool/ready/$1" "$2"; then exit 0; fi
    # Taken away just then, because replay had been farther on: it will be laid there again.
    if [ -f "$spool/ready/$1" ]; then exit 126; fi
  fi
  if [ -f "$spool/absent/$1" ]; then exit 99; fi
  if [ -f "$spool/closed" ] || [ ! -d "$spool/asked" ]; then exit 126; fi
  sleep {look}
done
"""


class WalServer:
    """The serving end: what it was asked for, and why it gave up, if it did."""

    def __init__(
        self,
        plan: RecoveryPlan,
        repository: Repository,
        codec: Codec,
        spool: Path,
        progress: Progress | None = None,
    ) -> None:
        self.served_bytes = 0
        """Plain bytes laid ready."""
        self._plan = plan
        self._repository = repository
        self._codec = codec
        self._spool = spool
        self._stop = threading.Event()
        self._order = {file.name: number for number, file in enumerate(plan.segments)}
        self._histories = {file.name: file for file in plan.histories}
        self._history: tuple[str, Future[bytes]] | None = None
        self._reading: deque[tuple[int, Future[Path]]] = deque()
        self._files = itertools.count()
        self._begins = threading.Lock()
        """Held while a file is begun, and by stop(): none is begun after that."""
        self._ready: deque[int] = deque()
        self._next = 0
        self._asked = -1
        self._watch = TablespaceWatch()
        self._refused: tuple[int, TargetNotReached] | None = None
        """The segment that is not laid ready, nor any after it, and why."""
        self._progress = progress
        self._farthest = 0
        self.failure: KbDrError | None = None
        """Why it stopped early, if it did."""

    @property
    def restore_command(self) -> str:
        """For postgresql.conf."""
        script = shlex.quote(str(self._spool / "fetch-wal")).replace("%", "%%")
        # Read in a part of the shell that PostgreSQL has started anyway: another would cost more
        # than all it does. Where the script cannot be read that part ends, with another status.
        return (
            f'(set -- "%f" "%p"; . {script}); '
            "case $? in 0) exit 0;; 99) exit 1;; *) exit 126;; esac"
        )

    def prepare(self) -> None:
        """Lay out the spool."""
        self._spool.mkdir(mode=0o755)
        for name in ("asked", "ready", "absent"):
            (self._spool / name).mkdir(mode=0o755)
        # The one place the server's user writes to; its parent is closed to everybody else.
        (self._spool / "asked").chmod(0o777)
        script = _SCRIPT.format(spool=shlex.quote(str(self._spool)), look=_LOOK_SECONDS)
        path = self._spool / "fetch-wal"
        path.write_text(script)
        path.chmod(0o644)

    def run(self) -> None:
        """Serve until stop(); whatever ends it, the script learns that nobody serves any more."""
        pool = ThreadPoolExecutor(_TRANSFERS, thread_name_prefix="serve-wal")
        try:
            self._serve(pool)
        except KbDrError as error:
            self.failure = error
        except OSError as error:
            kind = NotEnoughSpace if error.errno == errno.ENOSPC else RecoveryError
            self.failure = kind(f"serve WAL in {self._spool}: {error.strerror}")
        finally:
            # A read changes nothing: one that hangs, or sits out an outage, keeps nobody waiting.
            pool.shutdown(wait=False, cancel_futures=True)
            with suppress(FileNotFoundError):
                # The spool goes with its restore, when that was cut off.
                (self._spool / "closed").touch()

    def all_replayed(self) -> None:
        """Replay has come to its end: nothing of the plan is left to do."""
        self._tell(len(self._plan.segments))

    def stop(self) -> None:
        """Serve no more."""
        with self._begins:
            self._stop.set()

    def _serve(self, pool: ThreadPoolExecutor) -> None:
        # PostgreSQL asks for one file at a time. Only the newest request counts: one that was
        # met from what lay ready may never be seen here, and must not pull the window back.
        current, answered = self._spool / "asked" / "current", ""
        while not self._stop.is_set():
            name = _whole_line(current) or answered
            if name != answered:
                self._answer(name, pool)
                answered = name
            self._read_ahead(pool)
            self._lay_ready()
            self._stop.wait(_LOOK_SECONDS)

    def _answer(self, name: str, pool: ThreadPoolExecutor) -> None:
        """See to it that a file is laid ready, or marked absent."""
        number = self._order.get(name)
        if number is not None:
            self._asked = number
            self._raise_refused()
            self._tell(number)
            self._seek(number)
        elif name in self._histories:
            # In the pool, as segments are: this thread has to hear stop() at any time.
            self._history = (name, pool.submit(self._read, self._histories[name]))
        elif is_wal_file(name) and not self._needed(name):
            (self._spool / "absent" / name).touch()
        else:
            raise WalGap(
                f"serve WAL file {name} from {self._plan.url}: not in the plan, but recovery has "
                f"to come to {self._plan.expected_end} on timeline {self._plan.expected_timeline}"
            )

    def _tell(self, number: int) -> None:
        """Replay has done with what lies before this segment."""
        ahead = number - self._farthest
        if ahead > 0 and self._progress is not None:
            self._progress.advance(ahead * self._plan.stored.manifest.source.segment_bytes)
        self._farthest = max(self._farthest, number)

    def _needed(self, name: str) -> bool:
        """Whether recovery cannot be complete without a file that the plan does not have."""
        if not is_segment(name):
            return False
        last = Segment.parse(
            self._plan.last_segment, self._plan.stored.manifest.source.segment_bytes
        )
        return Segment.parse(name, last.segment_bytes).number <= last.number

    def _seek(self, number: int) -> None:
        """Replay is here now: what lies before is done with; a restart may have gone back."""
        while self._ready and self._ready[0] < number:
            self._drop(self._ready.popleft())
        at_hand = {*self._ready, *(each for each, _ in self._reading)}
        if number not in at_hand:
            self._leave_reading()
            while self._ready:
                self._drop(self._ready.popleft())
            self._next = number
            self._watch.forget()
            self._refused = None

    def _read_ahead(self, pool: ThreadPoolExecutor) -> None:
        segments = self._plan.segments
        while (
            self._refused is None
            and self._next < len(segments)
            and len(self._reading) < _TRANSFERS
            and (len(self._reading) + len(self._ready) < SPOOLED_SEGMENTS)
        ):
            self._reading.append(
                (self._next, pool.submit(self._read_segment, segments[self._next]))
            )
            self._next += 1

    def _lay_ready(self) -> None:
        if self._history is not None and self._history[1].done():
            name, history = self._history
            self._history = None
            self._lay(name, history.result())
        while self._reading and self._reading[0][1].done():
            number, future = self._reading.popleft()
            path = future.result()
            created = self._passed(path)
            if created is not None:
                path.unlink()
                self._refuse(number, created)
                return
            self._lay_file(self._plan.segments[number].name, path)
            self._ready.append(number)

    def _passed(self, path: Path) -> CreatedTablespace | None:
        if path.stat().st_size == 0:
            return self._watch.passed(b"")  # nothing can be mapped of it
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return self._watch.passed(content)

    def _refuse(self, number: int, created: CreatedTablespace) -> None:
        """Lay nothing ready from here on. It is an error once replay asks for it: a recovery whose
        target lies before never does.
        """
        self._refused = (
            number,
            TargetNotReached(
                f"serve WAL segment {self._plan.segments[number].name} from {self._plan.url}: it "
                f"creates tablespace {created.oid} at {created.location}, a path of the source",
                hint="Replayed on the source's host it would write into the live tablespace. "
                "Choose a backup taken since, which holds the tablespace and is restored "
                "elsewhere, or a target before it with --backup. Without such a backup, take a "
                "full one now.",
            ),
        )
        self._leave_reading()
        self._raise_refused()

    def _raise_refused(self) -> None:
        if self._refused is not None and self._asked >= self._refused[0]:
            raise self._refused[1]

    def _read(self, file: WalFile) -> bytes:
        return read_plan_wal(
            self._repository, self._codec, file, system_identifier=self._plan.system_identifier
        )

    def _read_segment(self, file: WalFile) -> Path:
        """A file of its own: this may run beside an earlier read of the same, which nobody needs
        any more.
        """
        path = self._spool / f".{file.name}.{next(self._files)}"
        try:
            with self._begun(path) as sink:
                read_plan_wal_into(
                    self._repository,
                    self._codec,
                    file,
                    sink,
                    system_identifier=self._plan.system_identifier,
                )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _begun(self, path: Path) -> IO[bytes]:
        with self._begins:
            if self._stop.is_set():
                raise RecoveryError(f"serve WAL in {self._spool}: it is over")
            return path.open("wb")

    def _leave_reading(self) -> None:
        for _, future in self._reading:
            if not future.cancel():
                future.add_done_callback(_remove)
        self._reading.clear()

    def _lay(self, name: str, content: bytes) -> None:
        unfinished = self._spool / f".{name}"
        unfinished.write_bytes(content)
        self._lay_file(name, unfinished)

    def _lay_file(self, name: str, path: Path) -> None:
        path.chmod(0o644)
        self.served_bytes += path.stat().st_size
        path.replace(self._spool / "ready" / name)

    def _drop(self, number: int) -> None:
        (self._spool / "ready" / self._plan.segments[number].name).unlink(missing_ok=True)


def _remove(read: Future[Path]) -> None:
    if read.exception() is None:
        read.result().unlink(missing_ok=True)


def _whole_line(file: Path) -> str:
    """What was asked; "" while it is being written, or nothing was."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return ""
    return text[:-1] if text.endswith("\n") else ""


@contextmanager
def serving_wal(
    plan: RecoveryPlan,
    repository: Repository,
    codec: Codec,
    spool: Path,
    progress: Progress | None = None,
) -> Iterator[WalServer]:
    """Serve the WAL of ``plan`` while the block runs; the spool is gone afterwards.

    ``progress`` is told of each segment that replay has done with.
    """
    server = WalServer(plan, repository, codec, spool, progress)
    server.prepare()
    thread = threading.Thread(target=server.run, name="serve-wal", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
        shutil.rmtree(spool, ignore_errors=True)
