"""What all processes below this one take, whoever started them and whether they still run.

An archiver's command may leave a process behind that goes on pushing: by then no child of any
server. Inside of orphans_adopted() it is ours, and counts as well.
"""

import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from kb_dr_tests.bench.whole_tree import cpu_seconds_below

_SAMPLE_SECONDS = 0.1
_ORPHAN_SECONDS = 20.0
_NOT_THE_TOOLS = frozenset({"postgres", "rclone"})
"""Servers: PostgreSQL and the store. Their memory is left out."""


@dataclass(slots=True)
class Took:
    """Filled when the block that measures is left."""

    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    """The most that was seen at once, ten times a second; servers left out."""


@contextmanager
def watching_descendants() -> Iterator[Took]:
    """Measure what everything below this process takes in a block; this process is left out."""
    took = Took()
    over = threading.Event()
    known = set(_below(os.getpid()))

    def look() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            new = (pid for pid in _below(os.getpid()) if pid not in known)
            took.peak_bytes = max(took.peak_bytes, sum(_tool_bytes(pid) for pid in new))

    thread = threading.Thread(target=look, name="descendants", daemon=True)
    before = cpu_seconds_below()
    thread.start()
    try:
        yield took
    finally:
        took.cpu_seconds = cpu_seconds_below() - before
        over.set()
        thread.join()


def children() -> set[int]:
    """Our own children, by process id."""
    return set(_children(os.getpid()))


def end_orphans(known: Collection[int]) -> None:
    """Wait for the children that are not ``known`` to end; those that do not are ended."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    for pid in children() - set(known):
        try:
            while os.waitpid(pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    psutil.Process(pid).terminate()
                time.sleep(0.02)
        except (ChildProcessError, psutil.NoSuchProcess):
            continue


def _below(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _below(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
    return found


def _tool_bytes(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        if process.name() in _NOT_THE_TOOLS:
            return 0
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return 0
