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
    started: float
    """As the kernel counts; two processes of one number never share it."""


class EndedEarly(SandboxError):
    """A program ended before it was ready."""


def start_detached(
    part: str,
    command: Sequence[str],
    *,
    log: Path,
    pid_file: Path,
    environment: Mapping[str, str],
    ready: Callable[[], bool],
) -> None:
    """Start a program that outlives us, note it, and return once it is ready."""
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
    while not ready():
        if process.poll() is not None:
            raise EndedEarly(f"start {part}: it ended with {process.returncode}\n{tail(log)}")
        if time.monotonic() > deadline:
            end_noted(pid_file)
            raise SandboxError(f"start {part}: not ready in {START_SECONDS:.0f} s\n{tail(log)}")
        time.sleep(0.05)
    if process.poll() is not None:
        raise EndedEarly(f"start {part}: another program answers in its place")


def note(pid_file: Path, pid: int) -> None:
    """Remember a process that runs now."""
    try:
        noted = Noted(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return  # it ended at once; whoever waits for it says so
    write_private(pid_file, msgspec.json.encode(noted))


def running(pid_file: Path) -> psutil.Process | None:
    """The noted process, if it still runs; never another one of the same number."""
    try:
        noted = msgspec.json.decode(pid_file.read_bytes(), type=Noted)
        process = psutil.Process(noted.pid)
        same = process.create_time() == noted.started
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (OSError, msgspec.MsgspecError, psutil.NoSuchProcess):
        return None
    return process if same and alive else None


def end_noted(pid_file: Path, how: signal.Signals = signal.SIGTERM) -> bool:
    """End the noted process, hard when it does not go; whether there was one."""
    process = running(pid_file)
    if process is not None:
        _signal(process, how)
        if not _gone(process, END_SECONDS):
            _signal(process, signal.SIGKILL)
            if not _gone(process, END_SECONDS):
                raise SandboxError(f"end process {process.pid}: it does not go")
    pid_file.unlink(missing_ok=True)
    return process is not None


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        return log.read_text(errors="replace")[-1500:]
    except OSError:
        return ""


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
