"""The process that `kb-dr wal fetch` leaves running ahead of a recovery.

It has one cluster's data directory open, by which fetch-wal.sh knows it, and ends when that
server does, when nothing was taken for a while, or on SIGTERM; what it laid ready goes with it.
One runs at a time in one place: it holds a lock, which its death releases.
"""

import argparse
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, Self

from kb_dr.operations.run_ahead import ASKED, READY, STARTING, ask, run_ahead
from kb_dr.settings import COPY_NAMES

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POSTMASTER = "postmaster.pid"
_MOST_OPEN = 65536
_CLUSTER: Final = 3
"""What it is started with: the data directory, and"""
_LOCK: Final = 4
"""the lock; all above is closed."""
_HIGH: Final = 64
"""Above both: neither is overwritten before it is in its place."""
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
}
"""For glibc: a segment's buffers are used again. Giving their pages back and getting them anew,
for each segment, costs half as much as all the rest (glibc, malloc/malloc.c, mallopt(3))."""


class Follower:
    """Starts who runs ahead behind the segment ``name``, or tells the one that runs; used in the
    data directory, as a block.

    It is started while the segment itself is still being read, and begins only when go() says
    that this went well: else it ends with the block. Nothing is started where no server runs in
    this directory, or no /proc tells who lives. Trouble is passed over: then the next segment is
    fetched when it is asked for.
    """

    def __init__(
        self, name: str, ahead: Path, *, copy: str, env_file: Path | None, system_identifier: int
    ) -> None:
        self._name = name
        self._ahead = ahead
        self._words = [sys.executable, "-P", "-m", __name__, "--from", copy]
        if env_file is not None:
            self._words += ["--env-file", str(env_file)]
        self._words += ["--system-identifier", str(system_identifier), name, str(ahead)]
        self._process = 0
        self._go: int | None = None
        self._runs_already = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._go is not None:
            os.close(self._go)

    def start(self) -> None:
        """Start it, once; it gets as far as it can without knowing whether it is wanted."""
        if self._process or not (os.path.exists(_POSTMASTER) and _BOOT_ID.exists()):
            return
        with suppress(OSError):
            self._ahead.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _lock(self._ahead) as lock:
                self._runs_already = lock is None
                if lock is not None:
                    _clear(self._ahead)
                    self._spawn(lock)

    def go(self, segment_bytes: int) -> None:
        """The segment is there: let it begin with the next one."""
        self.start()
        with suppress(OSError):
            if self._runs_already:
                ask(self._ahead, self._name)
            elif self._go is not None:
                (self._ahead / STARTING).touch()
                unfinished = self._ahead / ".alive"
                unfinished.write_text(f"{self._process} {_CLUSTER} {_BOOT_ID.read_text()}")
                unfinished.replace(self._ahead / "alive")
                os.write(self._go, f"{segment_bytes}\n".encode())

    def _spawn(self, lock: int) -> None:
        """What it holds from its first moment: the data directory, and the lock, which so passes
        from us to it and is never free. No stream of the server's stays open.

        Not fork(): the library of the store has threads.
        """
        waits, go = os.pipe()
        copies = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _HIGH) for each in (waits, lock)]
        try:
            self._process = os.posix_spawn(
                self._words[0],
                self._words,
                {**_KEEP_MEMORY, **os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, copies[0], 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_OPEN, _CLUSTER, ".", os.O_RDONLY | os.O_DIRECTORY, 0),
                    (os.POSIX_SPAWN_DUP2, copies[1], _LOCK),
                ],
                setsid=True,
            )
            self._go = go
        finally:
            for each in (waits, *copies):
                os.close(each)


def main(words: list[str]) -> None:
    """Run ahead until it is over."""
    parser = argparse.ArgumentParser(prog="kb-dr wal fetch, ahead")
    parser.add_argument("name")
    parser.add_argument("ahead", type=Path)
    parser.add_argument("--from", dest="copy", choices=COPY_NAMES, required=True)
    parser.add_argument("--env-file", type=Path)
    parser.add_argument("--system-identifier", type=int, required=True)
    given = parser.parse_args(words)
    # Before 16 PostgreSQL hands on what it has open: files dropped since would keep their room.
    os.closerange(_LOCK + 1, _MOST_OPEN)
    signal.signal(signal.SIGTERM, _leave)
    try:
        _run(given)
    finally:
        _clear(given.ahead)


def _run(given: argparse.Namespace) -> None:
    from kb_dr import wiring
    from kb_dr.settings import load_settings

    ahead: Path = given.ahead
    settings = load_settings(env_file=given.env_file)
    repository, codec = wiring.repository(settings, given.copy), wiring.codec(settings)
    server = _server(_CLUSTER)
    segment_bytes = sys.stdin.readline()
    if not segment_bytes:
        return  # the segment before was not fetched
    os.chdir("/")  # the data directory may be moved or unmounted meanwhile
    run_ahead(
        given.name,
        repository=repository,
        codec=codec,
        system_identifier=given.system_identifier,
        ahead=ahead,
        transfers=settings.transfers,
        segment_bytes=int(segment_bytes),
        wanted=lambda: bool(server) and _server(_CLUSTER) == server,
    )


def _server(cluster: int) -> str:
    """What tells the server that runs in a directory from any other; "" when none does."""
    try:
        with open(os.open(_POSTMASTER, os.O_RDONLY, dir_fd=cluster)) as file:
            lines = file.read().splitlines()
        os.kill(abs(int(lines[0])), 0)
    except (OSError, ValueError, IndexError):
        return ""
    # Its process id, the directory, and when it started; what follows is written as it comes up.
    return "\n".join(lines[:3])


def _clear(ahead: Path) -> None:
    (ahead / "alive").unlink(missing_ok=True)
    (ahead / ASKED).unlink(missing_ok=True)
    (ahead / STARTING).unlink(missing_ok=True)
    shutil.rmtree(ahead / READY, ignore_errors=True)


@contextmanager
def _lock(ahead: Path) -> Iterator[int | None]:
    """Hold the lock while the block runs, as whoever has got the descriptor does after it; None
    when another process holds it.
    """
    with (ahead / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    finally:
        # Reads that hang in a store that does not answer hold nobody up.
        os._exit(0)
