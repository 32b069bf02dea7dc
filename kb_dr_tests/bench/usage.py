"""CPU and memory of processes that are not ours to change."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from kb_dr_tests.bench.results import Cost

_SAMPLE_SECONDS = 0.1
_FAMILY_EVERY = 5
"""Samples between two looks for new children; the main process is looked at in each."""


def cpu_seconds_of(pid: int) -> float:
    """CPU a process, its living descendants and all they have waited for took so far."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for each in family:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(slots=True)
class Measured:
    """Filled when the block that measures is left."""

    cost: Cost = field(default_factory=lambda: Cost(0.0, 0.0))


@contextmanager
def measured(servers: Sequence[int] = ()) -> Iterator[Measured]:
    """Measure a block: our own children that end in it, and ``servers`` by process id."""
    result = Measured()
    before = _cpu_now(servers)
    began = time.perf_counter()
    try:
        yield result
    finally:
        seconds = time.perf_counter() - began
        result.cost = Cost(seconds, max(_cpu_now(servers) - before, 0.0))


def _cpu_now(servers: Sequence[int]) -> float:
    times = os.times()
    return times.children_user + times.children_system + sum(cpu_seconds_of(pid) for pid in servers)


@dataclass(frozen=True, slots=True)
class Ran:
    """One program that has ended well."""

    output: str
    cost: Cost
    peak_bytes: int
    """The most its processes held at once, without PostgreSQL's servers."""


def run(
    words: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    servers: Sequence[int] = (),
    watch_memory: bool = False,
) -> Ran:
    """Run a program to its end; AssertionError with its last words when it fails.

    ``servers`` are processes that work for it: their CPU is counted in.
    """
    with measured(servers) as result:
        process = subprocess.Popen(
            list(words),
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        peak = PeakMemory(process.pid)
        try:
            if watch_memory:
                peak.start()
            output, errors = process.communicate()
        finally:
            peak.stop()
            if process.poll() is None:
                process.kill()
                process.wait()
    assert process.returncode == 0, f"{words!r} ended with {process.returncode}:\n{errors[-3000:]}"
    return Ran(output, result.cost, peak.bytes)


class PeakMemory:
    """Looks at a process and its children ten times a second.

    The process itself by the kernel's own high-water mark, which misses no peak between two
    looks; its children by their share of memory (PSS), so that shared pages count once.
    """

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        family: list[psutil.Process] = []
        number = 0
        while not self._over.is_set():
            try:
                if number % _FAMILY_EVERY == 0:
                    family = _without_servers(psutil.Process(self._pid))
                seen = _high_water_bytes(self._pid) + sum(_share(each) for each in family)
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                return
            self.bytes = max(self.bytes, seen)
            number += 1
            self._over.wait(_SAMPLE_SECONDS)


def _without_servers(process: psutil.Process) -> list[psutil.Process]:
    kept = []
    for child in process.children(recursive=True):
        try:
            if child.name() != "postgres":
                kept.append(child)
        except psutil.NoSuchProcess:
            continue
    return kept


def _share(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


def _high_water_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # it is ending: its memory is gone already


def clean_environment() -> dict[str, str]:
    """Ours, without settings of another installation; and a Python that finds the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KB_", "AWS_", "PG"))
    }
    root = str(Path(__file__).resolve().parents[2])
    return kept | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [kept.get("PYTHONPATH")])])}


def python(module: str, *words: str) -> list[str]:
    """How to run one of our modules."""
    return [sys.executable, "-P", "-m", module, *words]
