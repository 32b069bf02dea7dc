"""Dagster's code server, webserver and daemon as child processes of a sandbox.

Everything of theirs lies in ``<sandbox>/dagster``: Dagster's settings, the workspace and a log for
each. They are ended with all their children when the block is left, however it is left.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import psutil
from dotenv import dotenv_values

from kb_dr.errors import SandboxError
from kb_dr.sandbox.dagster_questions import daemons_healthy, location_loaded, webserver_answers
from kb_dr.sandbox.places import ENV_FILE, free_port, is_free
from kb_dr.sandbox.processes import listens

PAGES_URL = "KB_DR_DAGSTER_URL"
"""Read from the file alone: it is known only once the webserver answers."""
READY_SECONDS = 300.0
"""Generous: the machine may be busy with the sandbox itself."""

END_SECONDS = 20.0
"""How long runs and services may take to clean up before they are killed."""
ATTEMPTS = 5
"""Another program may take a port between our looking and the service's binding it."""

_WORKSPACE = """\
load_from:
  - grpc_server:
      host: 127.0.0.1
      port: {port}
      location_name: kb_dr
"""


@dataclass(frozen=True, slots=True)
class DagsterServices:
    """The services, running."""

    url: str
    """Of the webserver."""
    home: Path
    environment: Mapping[str, str] = field(repr=False)
    """What they were started with; holds secrets."""
    processes: Mapping[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def ended(self) -> list[str]:
        """The services that do not run any more."""
        return [name for name, process in self.processes.items() if process.poll() is not None]


class _DidNotStart(SandboxError):
    """A service ended before it was ready."""


def prepare_instance(directory: Path) -> Path:
    """Make ``<directory>/dagster`` a DAGSTER_HOME with the settings of this repository."""
    home = directory.absolute() / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_instance_settings())
    return home


def service_environment(directory: Path, home: Path) -> dict[str, str]:
    """What a Dagster process of this sandbox needs; settings of the caller's have no say."""
    file = directory.absolute() / ENV_FILE
    if not file.is_file():
        raise SandboxError(
            f"start Dagster in {directory}: no {ENV_FILE} there",
            hint="`kb-dr sandbox up` builds the sandbox first.",
        )
    values = {
        name: value
        for name, value in dotenv_values(file, interpolate=False).items()
        if value and name != PAGES_URL
    }
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KB_")}
    return {
        **ours,
        **values,
        "KB_DR_ENV_FILE": str(file),
        "DAGSTER_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        # Dagster marks the interface we keep in one file (defs/ledger.py) as a preview each time.
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def dagster_services(directory: Path, *, port: int | None = None) -> Iterator[DagsterServices]:
    """Dagster's three services on loopback, ready to answer; ended when the block is left.

    ``port`` is the webserver's; None takes a free one. Raises SandboxError with the end of the
    log when one does not come up.
    """
    _let_children_hear_interrupts()
    home = prepare_instance(directory)
    environment = service_environment(directory, home)
    with ExitStack() as stack:
        url, workspace, pages = _pages(stack, home, environment, port)
        # After the webserver: both make the tables of an empty database, and would collide.
        daemon = stack.enter_context(
            _started(
                "daemon", ["-m", "dagster._daemon", "run", "-w", str(workspace)], home, environment
            )
        )
        for service in pages:
            _wait_until(service, lambda: location_loaded(url))
        _wait_until(daemon, lambda: daemons_healthy(url))
        processes = {each.name: each.process for each in (*pages, daemon)}
        yield DagsterServices(url, home, environment, processes)


@dataclass(frozen=True, slots=True)
class _Service:
    """One service that was started, ready or not."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path


def _pages(
    stack: ExitStack, home: Path, environment: Mapping[str, str], port: int | None
) -> tuple[str, Path, tuple[_Service, _Service]]:
    """Code server and webserver on ports of their own; a lost race for a port is run again.

    They start beside each other: each takes seconds to load Dagster, and a webserver looks for its
    code server until it is there.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _pages_on(free_port(), port or free_port(), stack, home, environment)
        except _DidNotStart:
            if attempt == ATTEMPTS or (port is not None and not is_free(port)):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _pages_on(
    code_port: int, web_port: int, stack: ExitStack, home: Path, environment: Mapping[str, str]
) -> tuple[str, Path, tuple[_Service, _Service]]:
    url = f"http://127.0.0.1:{web_port}"
    workspace = home / "workspace.yaml"
    workspace.write_text(_WORKSPACE.format(port=code_port))
    with ExitStack() as tried:
        code = tried.enter_context(_code_server(code_port, home, environment))
        web = tried.enter_context(_webserver(web_port, workspace, home, environment))
        _wait_until(web, lambda: webserver_answers(url))
        _wait_until(code, lambda: listens(code.process.pid, code_port))
        stack.push(tried.pop_all())
    return url, workspace, (code, web)


def _code_server(
    port: int, home: Path, environment: Mapping[str, str]
) -> AbstractContextManager[_Service]:
    # Not `code-server start`: that is one more process that hands each question on, and all it is
    # good for is definitions that change while it runs.
    words = ["-m", "dagster", "api", "grpc", "-m", "kb_dr.definitions",
             "-h", "127.0.0.1", "-p", str(port)]  # fmt: skip
    return _started("code server", words, home, environment)


def _webserver(
    port: int, workspace: Path, home: Path, environment: Mapping[str, str]
) -> AbstractContextManager[_Service]:
    words = ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)]
    return _started("webserver", words, home, environment)


@contextmanager
def _started(
    name: str, words: list[str], home: Path, environment: Mapping[str, str]
) -> Iterator[_Service]:
    """One service from its start to its end, in a session of its own."""
    log = home / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*_tied_to_us(), sys.executable, *words],
            env=dict(environment),
            # Not the caller's: a .env or a kb_dr.yaml lying there is not this sandbox's.
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        yield _Service(name, process, log)
    finally:
        _end_session(process)


def _wait_until(service: _Service, ready: Callable[[], bool]) -> None:
    """Wait for it; SandboxError with the end of its log when it ends or takes too long."""
    name, process, log = service.name, service.process, service.log
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if process.poll() is not None:
            raise _DidNotStart(
                f"start Dagster's {name}: it ended with {process.returncode}\n{_end_of(log)}",
                hint=f"Look into {log}.",
            )
        if time.monotonic() > deadline:
            raise SandboxError(
                f"start Dagster's {name}: not ready in {READY_SECONDS:.0f} s\n{_end_of(log)}",
                hint=f"Look into {log}.",
            )
        time.sleep(0.1)
    if process.poll() is not None:
        raise _DidNotStart(f"start Dagster's {name}: another program answered in its place")


def _end_session(process: "subprocess.Popen[bytes]") -> None:
    """End a service and all it started: ask, so that runs can clean up, wait, then kill."""
    deadline = time.monotonic() + END_SECONDS
    _signal_session(process.pid, signal.SIGTERM)
    while process.poll() is None or _alive_in(process.pid):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    _signal_session(process.pid, signal.SIGKILL)
    process.wait()


def _signal_session(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return  # nothing was left


def _alive_in(leader: int) -> bool:
    """Whether anything of that process group runs; what only waits to be reaped does not."""
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == leader and process.info["status"] != "zombie":
                return True
        except ProcessLookupError:
            continue
    return False


def _let_children_hear_interrupts() -> None:
    """Undo an ignored SIGINT (a shell's ``&`` in a script): Dagster would then ignore SIGTERM."""
    if threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _tied_to_us() -> list[str]:
    """Words that let a service end with us, even when we are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _instance_settings() -> str:
    """The repository's dagster.yaml; an installed package carries a copy."""
    package = resources.files("kb_dr")
    beside = Path(str(package)).parent / "dagster.yaml"
    if beside.is_file():
        return beside.read_text()
    return package.joinpath("sandbox", "dagster.yaml").read_text()


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
