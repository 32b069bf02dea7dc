"""Programs that go on after the command that started them; known by pid and start time."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from kb_dr.errors import SandboxError
from kb_dr.sandbox.places import write_private

START_SECONDS = 120.0
END_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Noted:
    """One process: a number alone may be somebody else's by now."""

    pid: int
    started: str | float
    """The boot, and the start in ticks since then: setting the clock does not change it."""


class EndedEarly(SandboxError):
    """A program ended before it was ready."""


def start_detached(
    part: str,
    command: Sequence[str],
    *,
    log: Path,
    pid_file: Path,
    environment: Mapping[str, str],
    ready: Callable[[int], bool],
) -> None:
    """Start a program that outlives us, note it, and return once ``ready`` says so of its pid."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    note(pid_file, process.pid)
    deadline = time.monotonic() + START_SECONDS
    while not ready(process.pid):
        if process.poll() is not None:
            raise EndedEarly(f"start {part}: it ended with {process.returncode}\n{tail(log)}")
        if time.monotonic() > deadline:
            end_noted(pid_file)
            raise SandboxError(f"start {part}: not ready in {START_SECONDS:.0f} s\n{tail(log)}")
        time.sleep(0.05)


def note(pid_file: Path, pid: int) -> None:
    """Remember a process that runs now."""
    started = _started(pid)
    if started is not None:  # else it ended at once; whoever waits for it says so
        write_private(pid_file, msgspec.json.encode(Noted(pid, started)))


def running(pid_file: Path) -> psutil.Process | None:
    """The noted process, if it still runs; never another one of the same number."""
    try:
        noted = msgspec.json.decode(pid_file.read_bytes(), type=Noted)
        process = psutil.Process(noted.pid)
        same = noted.started in (_started(noted.pid), process.create_time())
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (OSError, msgspec.MsgspecError, psutil.NoSuchProcess):
        return None
    return process if same and alive else None


def end_noted(pid_file: Path, how: signal.Signals = signal.SIGTERM) -> bool:
    """End the noted process, hard when it does not go; whether there was one.

    What it has started goes with it, also what is in the middle of something.
    """
    process = running(pid_file)
    if process is not None:
        family = descendants(process)
        _signal(process, how)
        if not _gone(process, END_SECONDS):
            _signal(process, signal.SIGKILL)
            if not _gone(process, END_SECONDS):
                raise SandboxError(f"end process {process.pid}: it does not go")
        for each in family:
            if not _gone(each, 2):
                _signal(each, signal.SIGKILL)
        wait_gone(family)
    pid_file.unlink(missing_ok=True)
    return process is not None


def listens(pid: int, port: int) -> bool:
    """Whether this very process listens there: an answer alone might be another program's.

    gRPC listens on 127.0.0.1 through a socket of IPv6.
    """
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in found)


def wait_gone(processes: Sequence[psutil.Process]) -> None:
    """Wait until all of them have ended; SandboxError when one does not.

    One that only waits to be reaped has ended: who that falls to may never do it.
    """
    for process in processes:
        if not _gone(process, END_SECONDS):
            raise SandboxError(f"end process {process.pid}: it does not go")


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """What a process has started, and what that has; none when it is gone."""
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        return log.read_text(errors="replace")[-1500:]
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # proc_pid_stat(5), field 22; the second, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return f"{boot} {fields[19]}"


def _signal(process: psutil.Process, how: signal.Signals) -> None:
    try:
        process.send_signal(how)  # psutil looks at the start time once more
    except psutil.NoSuchProcess:
        return


def _gone(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            # Our own child stays as a zombie until it is waited for.
            os.waitpid(process.pid, os.WNOHANG)
        if not process.is_running() or _is_zombie(process):
            return True
        time.sleep(0.05)
    return False


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
