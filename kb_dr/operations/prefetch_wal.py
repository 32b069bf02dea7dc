"""Fetch WAL ahead of replay, so that recovery finds each segment ready in a directory."""

import fcntl
import logging
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from kb_dr.errors import KbDrError
from kb_dr.operations.listed_wal import StoredWal
from kb_dr.operations.read_wal import read_wal_into
from kb_dr.ports import Codec, Repository

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.02
_LEAVE_SECONDS = 1.0
_DECODED_AT_ONCE = 2
"""More would take memory, and no time off: the rest is reading."""


class WalPrefetcher:
    """Keeps the next segments ready in ``spool`` while its block runs.

    restore_command(spool=...) moves a ready file out of it; whatever is not there is fetched by
    the command itself, so trouble here slows a recovery down and never ends it. What is in the
    spool is whole and checked; beside it ``.NAME.coming`` stands for a segment being read, and is
    locked (flock) until that has come to an end, so that who waits for it need not look again and
    again.
    ``segments`` are in order of replay; ``give`` hands a file to the user PostgreSQL runs as.
    """

    def __init__(
        self,
        repository: Repository,
        codec: Codec,
        spool: Path,
        segments: Iterable[StoredWal],
        *,
        transfers: int = 4,
        ahead: int = 16,
        give: Callable[[Path], None] | None = None,
    ) -> None:
        self.spool = spool
        self.fetched_segments = 0
        self.fetched_bytes = 0
        """Plain bytes."""
        self.taken_segments = 0
        """Moved out of the spool, or passed."""
        self.newest = ""
        """The last segment that was begun with; all before it lie ready, or were taken."""
        self.failure: KbDrError | OSError | None = None
        """Why it stopped early, if it did."""
        self._repository = repository
        self._codec = codec
        self._segments = iter(segments)
        self._transfers = transfers
        self._ahead = ahead
        self._give = give
        self._passed = ""
        self._locks: dict[str, int] = {}
        self._turn = threading.BoundedSemaphore(_DECODED_AT_ONCE)
        self.begun = threading.Event()
        """The first segments are being read, or there is nothing to be read."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wal-prefetch", daemon=True)

    def __enter__(self) -> Self:
        self.spool.mkdir(mode=0o700, parents=True)
        if self._give:
            self._give(self.spool)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        # A read changes nothing: one that hangs in a store holds nobody up.
        self._thread.join(_LEAVE_SECONDS)
        shutil.rmtree(self.spool, ignore_errors=True)
        for name in list(self._locks):
            self._end_coming(name)

    def passed(self, name: str) -> None:
        """Replay has, or gets elsewhere, all up to this segment."""
        self._passed = max(self._passed, name[8:])

    def _run(self) -> None:
        pool = ThreadPoolExecutor(self._transfers, "wal-prefetch")
        try:
            self._keep_ahead(pool)
        except (KbDrError, OSError) as error:
            self.failure = error
            logger.warning("prefetch WAL: %s; each segment is fetched when asked for", error)
        finally:
            self.begun.set()
            pool.shutdown(cancel_futures=True)

    def _keep_ahead(self, pool: ThreadPoolExecutor) -> None:
        ready: deque[Path] = deque()
        running: set[Future[Path]] = set()
        more = True
        while (more or running or ready) and not self._stop.is_set():
            self._forget_taken(ready)
            while (
                more
                and len(running) < self._transfers
                and (len(running) + len(ready) < self._ahead)
            ):
                segment = next(self._segments, None)
                if self._stop.is_set():
                    return
                if segment is None:
                    more = False
                elif segment.name[8:] > self._passed:
                    self._begin_coming(segment.name)
                    self.newest = segment.name
                    running.add(pool.submit(self._fetch, segment))
            self.begun.set()
            if not running:
                self._stop.wait(_LOOK_SECONDS)
                continue
            done, running = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                ready.append(future.result())
                self.fetched_segments += 1

    def _forget_taken(self, ready: deque[Path]) -> None:
        """Drop what was moved away, and with it what replay has passed without taking it."""
        for path in ready:
            if not path.exists():
                self.passed(path.name)
        for path in list(ready):
            if path.name[8:] <= self._passed:
                path.unlink(missing_ok=True)
                ready.remove(path)
                self.taken_segments += 1

    def _begin_coming(self, name: str) -> None:
        """Say that a segment is being read; locked before anybody can see it."""
        unfinished = self.spool / f".{name}.begun"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._locks[name] = descriptor
        unfinished.replace(self._coming(name))

    def _end_coming(self, name: str) -> None:
        """Unlocked when it is gone already: who is woken looks once."""
        self._coming(name).unlink(missing_ok=True)
        descriptor = self._locks.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _coming(self, name: str) -> Path:
        return self.spool / f".{name}.coming"

    def _fetch(self, segment: StoredWal) -> Path:
        path = self.spool / segment.name
        # A name of its own: a read that was not waited for may come to its end beside another.
        unfinished = self.spool / f".{segment.name}.{threading.get_ident()}"
        try:
            with unfinished.open("wb") as file:
                size_bytes = read_wal_into(
                    self._repository,
                    self._codec,
                    segment.listed,
                    segment.name,
                    segment.sha256,
                    file,
                    system_identifier=segment.system_identifier,
                    turn=self._turn,
                )
            if self._stop.is_set():
                return path
            if self._give:
                self._give(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
            self._end_coming(segment.name)
        self.fetched_bytes += size_bytes
        return path
