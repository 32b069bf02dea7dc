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
from typing import NoReturn

from kb_dr.operations.run_ahead import ASKED, READY, ask, run_ahead
from kb_dr.settings import COPY_NAMES

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POSTMASTER = "postmaster.pid"
_MOST_OPEN = 65536
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
}
"""For glibc: a segment's buffers are used again. Giving their pages back and getting them anew,
for each segment, costs half as much as all the rest (glibc, malloc/malloc.c, mallopt(3))."""


def keep_ahead(
    name: str,
    ahead: Path,
    *,
    copy: str,
    env_file: Path | None,
    system_identifier: int,
    segment_bytes: int,
) -> None:
    """Start it behind the segment ``name``, or tell the one that runs; in the data directory.

    Nothing is started where no server runs in this directory, or no /proc tells who lives.
    Trouble is passed over: then the next segment is fetched when it is asked for.
    """
    if not (os.path.exists(_POSTMASTER) and _BOOT_ID.exists()):
        return
    words = [sys.executable, "-P", "-m", __name__, "--from", copy]
    if env_file is not None:
        words += ["--env-file", str(env_file)]
    words += ["--system-identifier", str(system_identifier)]
    words += ["--segment-bytes", str(segment_bytes), name, str(ahead)]
    with suppress(OSError):
        ahead.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(ahead) as locked:
            if not locked:
                ask(ahead, name)
                return
        # Not fork(): the library of the store has threads. No stream of the server's stays open.
        nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        os.posix_spawn(
            words[0], words, {**_KEEP_MEMORY, **os.environ}, file_actions=nothing, setsid=True
        )


def main(words: list[str]) -> None:
    """Run ahead until it is over."""
    parser = argparse.ArgumentParser(prog="kb-dr wal fetch, ahead")
    parser.add_argument("name")
    parser.add_argument("ahead", type=Path)
    parser.add_argument("--from", dest="copy", choices=COPY_NAMES, required=True)
    parser.add_argument("--env-file", type=Path)
    parser.add_argument("--system-identifier", type=int, required=True)
    parser.add_argument("--segment-bytes", type=int, required=True)
    given = parser.parse_args(words)
    # Before 16 PostgreSQL hands on what it has open: files dropped since would keep their room.
    os.closerange(3, _MOST_OPEN)
    signal.signal(signal.SIGTERM, _leave)
    with _lock(given.ahead) as locked:
        if locked:
            _run(given)


def _run(given: argparse.Namespace) -> None:
    from kb_dr import wiring
    from kb_dr.settings import load_settings

    ahead: Path = given.ahead
    settings = load_settings(env_file=given.env_file)
    cluster = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    server = _server(cluster)
    os.chdir("/")  # the data directory may be moved or unmounted meanwhile
    _clear(ahead)
    try:
        unfinished = ahead / ".alive"
        unfinished.write_text(f"{os.getpid()} {cluster} {_BOOT_ID.read_text()}")
        unfinished.replace(ahead / "alive")
        run_ahead(
            given.name,
            repository=wiring.repository(settings, given.copy),
            codec=wiring.codec(settings),
            system_identifier=given.system_identifier,
            ahead=ahead,
            transfers=settings.transfers,
            segment_bytes=given.segment_bytes,
            wanted=lambda: bool(server) and _server(cluster) == server,
        )
    finally:
        _clear(ahead)


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
    shutil.rmtree(ahead / READY, ignore_errors=True)


@contextmanager
def _lock(ahead: Path) -> Iterator[bool]:
    """Hold the lock while the block runs; False when another process does."""
    with (ahead / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    finally:
        # Reads that hang in a store that does not answer hold nobody up.
        os._exit(0)
