"""Spread work over processes: the library that encrypts lets no second thread run meanwhile."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MOST = 255
"""Pieces of work that can be told apart by one byte."""

_TASKS = Path("/proc/self/task")
_READ_BYTES = 1 << 16


def may_spread() -> bool:
    """Whether this process may be doubled: it has one thread, of whatever library.

    In a copy of a process with several, a lock that another thread held would never be given up.
    """
    try:
        return len(os.listdir(_TASKS)) == 1
    except OSError:
        return False


def spread_out(count: int, work: Callable[[int], str], *, processes: int) -> list[str]:
    """What ``work`` says, one line each, of every number below ``count``; in no order.

    Each of ``processes``, of which this is one, takes the next number when it has done with one.
    What a process that died was at, or had not handed on, is missing. ``work`` answers "" for
    nothing to say and raises nothing; it runs in a thread that is new in its process, so that no
    two processes draw the same random bytes from a generator that was copied. None of the
    processes outlives this call by more than the piece it is at.
    """
    if not 0 < count <= MOST:
        raise ValueError(f"spread out {count} pieces of work, expected 1 to {MOST}")
    queue, fill = os.pipe()
    os.write(fill, bytes(range(count)))
    os.close(fill)
    parent = os.getpid()
    others: dict[int, int] = {}
    said: list[str] = []
    try:
        for _ in range(min(processes, count) - 1):
            answers, tell = os.pipe()
            try:
                child = os.fork()
            except OSError:
                # No further process is to be had: those there are do it all.
                os.close(answers)
                break
            else:
                if child == 0:
                    _be_another(queue, work, tell, parent)
                others[child] = answers
            finally:
                os.close(tell)
        said += _in_new_thread(queue, work, lambda: True)
        for answers in others.values():
            said += _lines(answers)
    except BaseException:
        for child in others:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        raise
    finally:
        os.close(queue)
        for child, answers in others.items():
            os.close(answers)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
    return said


def _be_another(queue: int, work: Callable[[int], str], tell: int, parent: int) -> None:
    """The life of a forked process; nothing of what its parent was in the middle of goes on."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        said = _in_new_thread(queue, work, lambda: os.getppid() == parent)
        rest = memoryview("".join(f"{line}\n" for line in said).encode())
        while rest:
            rest = rest[os.write(tell, rest) :]
    finally:
        os._exit(0)


def _in_new_thread(queue: int, work: Callable[[int], str], wanted: Callable[[], bool]) -> list[str]:
    said: list[str] = []

    def take() -> None:
        while wanted() and (number := os.read(queue, 1)):
            if line := work(number[0]):
                said.append(line)

    thread = threading.Thread(target=take, name="spread-out", daemon=True)
    thread.start()
    thread.join()
    return said


def _lines(answers: int) -> list[str]:
    """The whole lines that came; one cut short by a death is none."""
    text = b""
    while piece := os.read(answers, _READ_BYTES):
        text += piece
    return text.decode().split("\n")[:-1]
