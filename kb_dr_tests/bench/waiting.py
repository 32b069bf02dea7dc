"""How long a person waits for the pages, and for a backup they asked for to begin.

The sandbox is started as a person starts it, and what is measured is seen from outside: a page
that answers, a file that appears where the S3 server keeps its objects.
"""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from kb_dr.sandbox.dagster_questions import back_up_now
from kb_dr.sandbox.places import free_port
from kb_dr_tests.bench.contest import Waiting
from kb_dr_tests.bench.usage import clean_environment

LAUNCH = "Launch pressed until the first byte of the backup is stored"
PAGES = "UI until it answers"
ALL_OF_IT = "UI until the daemon does what is due"

ENTRIES = 300
_LOOK_SECONDS = 0.02
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Ui:
    """`kb-dr ui`, running."""

    directory: Path
    url: str
    process: "subprocess.Popen[bytes]"
    answered_seconds: float
    """From its start until the first page answered."""
    ready_seconds: float
    """The same until it prints the address: the definitions are loaded, and the daemon runs."""


@contextmanager
def running_ui(directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Ui]:
    """Type the command; Ctrl-C when the block is left. A sandbox is built where there is none."""
    port = free_port()
    words = ["ui", "--dir", str(directory), "--entries", str(ENTRIES), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    log = directory.with_suffix(".log")
    began = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "kb_dr.cli", *words],
            env=clean_environment() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        _until(lambda: _page_answers(port), process, log)
        answered = time.perf_counter() - began
        # Its own word: a daemon that ended a minute ago still counts as healthy.
        _until(lambda: b"Dagster is at" in log.read_bytes(), process, log)
        yield Ui(directory, url, process, answered, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_MOST_SECONDS)


def first_byte(ui: Ui) -> float:
    """Seconds from the launch of `back_up_now` until a chunk of its backup is in the store.

    The backup is waited for: the next one would queue behind it.
    """
    before = _chunks(ui.directory)
    began = time.time()
    _name, run = back_up_now(ui.url, timeout_seconds=_MOST_SECONDS)
    if run["status"] != "SUCCESS":
        raise RuntimeError(f"back up: {run['status']}, expected SUCCESS")
    return seconds_until_first(_chunks(ui.directory), before, began)


def seconds_until_first(
    found: Mapping[Path, float], before: Mapping[Path, float], began: float
) -> float:
    """When the first of the chunks that were not there before was begun; ValueError for none."""
    return min(at for path, at in found.items() if path not in before) - began


def wait_for_it(directory: Path, rounds: int) -> tuple[Waiting, ...]:
    """Each wait in each round; the sandbox is there already, and down."""
    pages, ready, launched = [], [], []
    for _ in range(rounds):
        with running_ui(directory) as ui:
            pages.append(ui.answered_seconds)
            ready.append(ui.ready_seconds)
            launched.append(first_byte(ui))
    return (
        Waiting(PAGES, tuple(pages)),
        Waiting(ALL_OF_IT, tuple(ready)),
        Waiting(LAUNCH, tuple(launched)),
    )


def _chunks(directory: Path) -> dict[Path, float]:
    """The chunks in the primary's region, and when the S3 server had written each."""
    return {
        path: os.stat(path).st_mtime for path in directory.glob("region-a/**/full/*/*/base.tar.*")
    }


def _page_answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _until(done: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"start `kb-dr ui`:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(_LOOK_SECONDS)


def services_of(ui: Ui) -> list[psutil.Process]:
    """What it has started and ends with: Dagster's three, each with all of its children."""
    return list(psutil.Process(ui.process.pid).children())
