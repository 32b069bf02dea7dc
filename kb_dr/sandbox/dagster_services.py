"""Dagster's code server, webserver and daemon as child processes of a sandbox.

Everything of theirs lies in ``<sandbox>/dagster``: Dagster's settings, the workspace and a log for
each. They are ended with all their children when the block is left, however it is left.
"""

import os
import shutil
import signal
import socket
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

ENV_FILE = "kb_dr.env"
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
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:

        def enter(service: AbstractContextManager["subprocess.Popen[bytes]"], name: str) -> None:
            processes[name] = stack.enter_context(service)

        code_port = _on_a_free_port(
            lambda chosen: enter(_code_server(chosen, home, environment), "code server")
        )
        workspace = home / "workspace.yaml"
        workspace.write_text(_WORKSPACE.format(port=code_port))
        web_port = _on_a_free_port(
            lambda chosen: enter(_webserver(chosen, workspace, home, environment), "webserver"),
            fixed=port,
        )
        url = f"http://127.0.0.1:{web_port}"
        # After the webserver: both make the tables of an empty database, and would collide.
        enter(_daemon(url, workspace, home, environment), "daemon")
        yield DagsterServices(url, home, environment, processes)


@contextmanager
def _code_server(
    port: int, home: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    words = ["-m", "dagster", "code-server", "start", "-m", "kb_dr.definitions",
             "-h", "127.0.0.1", "-p", str(port)]  # fmt: skip
    health = [sys.executable, "-m", "dagster", "api", "grpc-health-check", "-p", str(port),
              "-h", "127.0.0.1"]  # fmt: skip

    def answers() -> bool:
        try:
            asked = subprocess.run(
                health, env=dict(environment), cwd=home, capture_output=True, timeout=60
            )
        except subprocess.TimeoutExpired:
            return False
        return asked.returncode == 0

    with _service("code-server", words, home, environment, answers) as process:
        yield process


@contextmanager
def _webserver(
    port: int, workspace: Path, home: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    words = ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)]
    url = f"http://127.0.0.1:{port}"
    with _service(
        "webserver",
        words,
        home,
        environment,
        lambda: webserver_answers(url) and location_loaded(url),
    ) as process:
        yield process


@contextmanager
def _daemon(
    url: str, workspace: Path, home: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    words = ["-m", "dagster._daemon", "run", "-w", str(workspace)]
    with _service("daemon", words, home, environment, lambda: daemons_healthy(url)) as process:
        yield process


@contextmanager
def _service(
    name: str,
    words: list[str],
    home: Path,
    environment: Mapping[str, str],
    ready: Callable[[], bool],
) -> Iterator["subprocess.Popen[bytes]"]:
    """One service from its start to its end, in a session of its own."""
    log = home / f"{name}.log"
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
            time.sleep(0.2)
        if process.poll() is not None:
            raise _DidNotStart(f"start Dagster's {name}: another program answered in its place")
        yield process
    finally:
        _end_session(process)


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


def _on_a_free_port(start: Callable[[int], None], *, fixed: int | None = None) -> int:
    """Start something on a port of its own; a lost race for the port is run again."""
    attempts = 1 if fixed is not None else ATTEMPTS
    for attempt in range(1, attempts + 1):
        port = _free_port() if fixed is None else fixed
        try:
            start(port)
        except _DidNotStart:
            if attempt == attempts:
                raise
        else:
            return port
    raise AssertionError("unreachable: the last attempt returns or raises")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
