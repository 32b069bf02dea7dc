"""CPU of all this process has started, servers and what left its parent too."""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from kb_dr_tests.bench.usage import cpu_seconds_of

_PR_SET_CHILD_SUBREAPER = 36
"""Source: linux/prctl.h."""


@contextmanager
def orphans_adopted() -> Iterator[None]:
    """Processes whose parent ends become ours, not init's, while the block runs.

    pgBackRest's asynchronous archiving leaves its parent; without this its CPU would be nobody's.
    """
    _adopt(yes=True)
    try:
        yield
    finally:
        _adopt(yes=False)


def cpu_seconds_below() -> float:
    """CPU of all our children so far: those that ended, those that run, with their own.

    Servers that do nothing add nothing between two looks.
    """
    times = os.times()
    living = sum(cpu_seconds_of(child.pid) for child in psutil.Process().children())
    return times.children_user + times.children_system + living


class Stopwatch:
    """Seconds on the wall until stop(), and CPU of all below us until each look at it."""

    def __init__(self) -> None:
        self._cpu = cpu_seconds_below()
        self._began = time.perf_counter()
        self.seconds = 0.0

    def stop(self) -> None:
        """The work is done; what still runs behind it is counted as CPU only."""
        self.seconds = time.perf_counter() - self._began

    def cpu_seconds(self) -> float:
        """Since it began, until now."""
        return max(cpu_seconds_below() - self._cpu, 0.0)


def _adopt(*, yes: bool) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "become the reaper of orphans")
