"""End a PostgreSQL server that outlived the restore it was started for."""

import signal
from pathlib import Path

import psutil

_START_TOLERANCE_SECONDS = 120.0
"""postmaster.pid has the wall clock's seconds, the process table seconds since boot."""

_QUIT_SECONDS = 20.0


def end_server_in(data: Path) -> None:
    """End the server of a data directory, and wait until nothing runs in it.

    Only a process that says itself that it works in ``data``, and that postmaster.pid names with
    its start time, is signalled: numbers of processes are used again. Nothing there is a success.
    """
    server = _server_of(data)
    if server is not None:
        _signal(server, signal.SIGQUIT)
        psutil.wait_procs([server], timeout=_QUIT_SECONDS)
        _signal(server, signal.SIGKILL)
    # Its children end by themselves when it is gone; until then they write.
    if data.is_dir():
        psutil.wait_procs(_working_in(data), timeout=_QUIT_SECONDS)


def _server_of(data: Path) -> psutil.Process | None:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        started = float(lines[2])
        named = Path(lines[1]) == data
        same_start = abs(process.create_time() - started) <= _START_TOLERANCE_SECONDS
        if named and same_start and _works_in(process, data):
            return process
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return None


def _working_in(data: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["name"])
        if str(process.info["name"]).startswith("postgres") and _works_in(process, data)
    ]


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return Path(process.cwd()) == data.resolve()
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # it ended in between
