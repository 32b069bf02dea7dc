"""Dagster's pages over a small sandbox, and a browser to read them with."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from playwright.sync_api import Browser, Page, sync_playwright

from kb_dr.installation import Installation
from kb_dr.sandbox.bring_up import installation_of, up
from kb_dr.sandbox.dagster_questions import NoAnswer, ask
from kb_dr.sandbox.take_down import down
from kb_dr.settings import load_settings

ENTRIES = 300
WAIT_SECONDS = 240.0
"""Generous: the machine may be starved. Never measured against."""

RELOAD_SECONDS = 15.0

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_LIGHTS = """
query { assetNodeOrError(assetKey: {path: ["postgres", "backup"]}) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses {
    ... on AssetCheckDefaultPartitionStatuses { succeededPartitions failedPartitions }
} } } } } } }
"""


class Pages:
    """What `kb-dr ui` brings up over a small sandbox; it can be ended and started again."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``settings`` are added to the sandbox's; ``environment`` is what its processes find."""
        self.directory = directory
        self.url = ""
        self._settings = dict(settings or {})
        self._environment = dict(environment or {})
        self._log = directory.parent / "ui.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            up(self.directory, entries=ENTRIES)
            with self.env_file.open("a") as file:
                file.writelines(f"{name}='{value}'\n" for name, value in self._settings.items())
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(WAIT_SECONDS)
        if (self.directory / "sandbox.json").is_file():
            down(self.directory, purge=True)

    def start(self) -> None:
        """Type the command and wait for the address."""
        words = ["ui", "--dir", str(self.directory), "--entries", str(ENTRIES)]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "kb_dr.cli", *words],
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._process = process

        def address() -> bool:
            assert process.poll() is None, self._log.read_text()
            found = re.search(r"Dagster is at (http://\S+)", self._log.read_text())
            self.url = found[1] if found else ""
            return found is not None

        eventually(address, what=f"the address is printed, but: {self._log.read_text()}")

    def interrupt(self) -> int:
        """Ctrl-C; the command's exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(WAIT_SECONDS)
        self._process = None
        return code

    def kill(self) -> None:
        """End Dagster for good, and the command with it: none of them can clean up. The databases
        and the buckets go on.
        """
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)  # else it would end the databases, too
        for service in psutil.Process(self._process.pid).children():
            with suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(WAIT_SECONDS)
        self._process = None

    @property
    def env_file(self) -> Path:
        """The sandbox's settings."""
        return self.directory / "kb_dr.env"

    def left_over(self) -> list[str]:
        """Processes that still run for this sandbox: they work in it, or name it."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                here = self.directory in (Path(process.cwd()), *Path(process.cwd()).parents)
            except psutil.Error:
                continue
            if process.pid != os.getpid() and (here or str(self.directory) in " ".join(words)):
                found.append(" ".join(words))
        return found

    @property
    def installation(self) -> Installation:
        """kb-dr itself, as the sandbox configures it."""
        return installation_of(self.directory)

    def lose_the_database(self) -> None:
        """While nothing runs: everything Dagster ever remembered is gone."""
        up(self.directory)
        values = environment(self.directory)
        with psycopg.connect(
            host=values["KB_DR_DAGSTER_PG_HOST"],
            port=values["KB_DR_DAGSTER_PG_PORT"],
            user=values["KB_DR_DAGSTER_PG_USER"],
            password=values["KB_DR_DAGSTER_PG_PASSWORD"],
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute("drop database dagster with (force)")
            connection.execute("create database dagster")

    def partition(self, asset: str, backup_id: str) -> str:
        """The address of what one asset shows of one backup."""
        return f"{self.url}/assets/postgres/{asset}?view=partitions&partition={backup_id}"

    def light(self, backup_id: str) -> bool | None:
        """What `restore_proven` shows of a backup: True green, False red, None neither."""
        checks = ask(self.url, _LIGHTS)["assetNodeOrError"]["assetChecksOrError"]["checks"]
        (found,) = [check["partitionStatuses"] for check in checks
                    if check["name"] == "restore_proven"]  # fmt: skip
        if backup_id in found["failedPartitions"]:
            return False
        return True if backup_id in found["succeededPartitions"] else None

    def chunk_offsite(self, backup_id: str) -> Path:
        """The file in region B that holds a backup's first chunk."""
        stamp = backup_id.removeprefix("kb-full-")
        found = sorted(self.directory.glob(f"region-b/**/full/{stamp}/*/base.tar.*.00000"))
        assert len(found) == 1, found
        return found[0]


@dataclass(frozen=True)
class ProvenBackup:
    """A backup that went the whole way."""

    id: str
    digest: str


def environment(directory: Path) -> dict[str, str]:
    """The sandbox's settings, as its file spells them."""
    from dotenv import dotenv_values

    file = load_settings({}, env_file=directory / "kb_dr.env").env_file
    assert file is not None
    return {name: value or "" for name, value in dotenv_values(file, interpolate=False).items()}


def eventually(condition: Callable[[], Any], *, what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if condition():
                return
        except NoAnswer:
            pass  # the page is busy
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.5)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=WAIT_SECONDS * 1000
        )
        try:
            yield started
        finally:
            started.close()


def read(page: Page, address: str, *texts: str) -> str:
    """Open a page and wait until it shows all of these texts; what it shows."""
    deadline = time.monotonic() + WAIT_SECONDS
    seen = ""
    while time.monotonic() < deadline:
        page.goto(address, wait_until="domcontentloaded", timeout=WAIT_SECONDS * 1000)
        reload_at = time.monotonic() + RELOAD_SECONDS
        while time.monotonic() < reload_at:
            seen = page.inner_text("body", timeout=WAIT_SECONDS * 1000)
            if all(text in seen for text in texts):
                return seen
            page.wait_for_timeout(250)
    missing = [text for text in texts if text not in seen]
    raise AssertionError(f"{address} never showed {missing}, but:\n{seen[:4000]}")


def follow(page: Page, link: str, *texts: str) -> None:
    """Click a link in what is told of a partition, see all of these texts there, come back."""
    address = page.url
    found = page.locator("td").get_by_role("link", name=link, exact=True).first
    found.click(timeout=WAIT_SECONDS * 1000)
    eventually(lambda: page.url != address, what=f"{link} leads elsewhere")
    read(page, page.url, *texts)  # once more until all is there: the sync may still be at it
    page.goto(address, wait_until="domcontentloaded", timeout=WAIT_SECONDS * 1000)


def picture(page: Page, name: str) -> None:
    """Keep what is on the page, when KB_DR_SCREENSHOTS names a directory."""
    directory = os.environ.get("KB_DR_SCREENSHOTS")
    if directory:
        page.wait_for_timeout(1500)  # lets the page come to rest; only the picture needs it
        page.screenshot(path=Path(directory) / f"{name}.png")
