"""Real Prometheus, Alertmanager and Pushgateway on loopback, and somebody who is told."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from kb_dr_tests.object_stores import PORTS_TRIED, START_SECONDS, free_port

WAIT_SECONDS = 120.0
"""Of a starved machine; what is waited for comes within seconds."""


@contextmanager
def prometheus(directory: Path, config: Path) -> Iterator[int]:
    """Prometheus with this configuration; its port."""
    directory.mkdir()
    words = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}"]
    with _server(directory, [*words, "--log.level=warn"]) as port:
        yield port


@contextmanager
def alertmanager(directory: Path, config: Path) -> Iterator[int]:
    """Alertmanager, which talks to no other one; its port."""
    directory.mkdir()
    words = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={directory}"]
    with _server(directory, [*words, "--cluster.listen-address="]) as port:
        yield port


@contextmanager
def pushgateway(directory: Path) -> Iterator[int]:
    """A Pushgateway that forgets everything; its port."""
    directory.mkdir()
    with _server(directory, ["prometheus-pushgateway"]) as port:
        yield port


@contextmanager
def _server(directory: Path, words: Sequence[str]) -> Iterator[int]:
    log = directory / "log"
    for _ in range(PORTS_TRIED):
        port = free_port()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*words, f"--web.listen-address=127.0.0.1:{port}"],
                cwd=directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        try:
            if _answers(process, port):
                yield port
                return
        finally:
            process.terminate()
            process.wait(WAIT_SECONDS)
        if "address already in use" not in log.read_text():
            break
    raise AssertionError(f"{words[0]} did not start: {log.read_text()[-2000:]}")


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if get(port, "/-/ready")[0] == 200:
                return True
        except (OSError, HTTPException):
            pass
        time.sleep(0.05)
    return False


def get(port: int, path: str) -> tuple[int, str]:
    """One request to a server on loopback."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class AlertSink:
    """A webhook: keeps every alert of every notification, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._alerts: list[dict[str, Any]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with sink._lock:
                    sink._alerts += json.loads(body)["alerts"]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> "AlertSink":
        self._thread = Thread(target=lambda: self._server.serve_forever(poll_interval=0.05))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def told(self, name: str, status: str = "firing") -> list[dict[str, Any]]:
        """The alerts of that name that came with that status."""
        with self._lock:
            return [
                each
                for each in self._alerts
                if each["labels"]["alertname"] == name and each["status"] == status
            ]

    def wait_for(self, name: str, status: str = "firing") -> dict[str, Any]:
        """The first of them; comes within the deadline, or the test fails."""
        until(lambda: bool(self.told(name, status)), f"{name} {status}")
        return self.told(name, status)[0]


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something that has to come."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"did not come: {what}"
        time.sleep(0.1)
