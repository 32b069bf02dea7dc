"""The Launchpad of `restore_database`, filled in and launched as a person does."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page

from kb_dr.sandbox.places import open_places
from kb_dr.sandbox.processes import running
from kb_dr_tests.end_to_end.pages import WAIT_SECONDS, Pages, eventually, read

_FORM = """\
ops:
  restore:
    config:
      action:
        {action}
      copy_read: {copy}
      into: {into}
      target:
        {target}
"""

DRY_RUN = "dry_run: {}"
UNCONFIRMED = "execute: {}"
LATEST = "latest: {}"


def open_launchpad(pages: Pages, page: Page) -> None:
    """The Launchpad, with what it is filled in with."""
    read(page, f"{pages.url}/locations/kb_dr/jobs/restore_database/playground", "Launch Run", "ops")


def execute(into: Path) -> str:
    """The action, confirmed."""
    return f"execute: {{confirm_target: {into}}}"


def fill_in(
    page: Page, *, action: str, into: Path, copy: str = "auto", target: str = LATEST
) -> None:
    """Type over what stands there."""
    text = _FORM.format(action=action, into=into, copy=copy, target=target)
    page.locator(".CodeMirror").first.evaluate("(box, text) => box.CodeMirror.setValue(text)", text)


def launch_button(page: Page) -> Locator:
    """The button, which Dagster disables while the form is not valid."""
    return page.get_by_role("button", name="Launch Run")


def launch(page: Page) -> str:
    """Press it; the id of the run whose page opens."""
    button = launch_button(page)
    eventually(button.is_enabled, what="the form can be launched")
    # A form that was just typed is looked at a moment later.
    page.wait_for_timeout(1000)
    button.click()
    page.wait_for_url("**/runs/*", timeout=WAIT_SECONDS * 1000)
    return page.url.rpartition("/")[2]


def terminate(page: Page) -> None:
    """Press the button of a run's page, and confirm."""
    page.get_by_role("button", name="Terminate").click(timeout=WAIT_SECONDS * 1000)
    page.get_by_role("button", name="Terminate 1 run").click(timeout=WAIT_SECONDS * 1000)


def show_only(page: Page, text: str) -> None:
    """Leave of a run's log the lines with this text."""
    page.get_by_placeholder("Filter").last.fill(text)


@contextmanager
def store_that_hangs_once_a_restore_begins(
    directory: Path, into: Path
) -> Iterator[threading.Event]:
    """Region A stops answering when the restore into ``into`` has made its work area.

    The event is set then. The region answers again when the block is left.
    """
    region = running(open_places(directory).pid_file("region-primary"))
    assert region is not None
    hangs, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            if work_areas(into):
                os.kill(region.pid, signal.SIGSTOP)
                hangs.set()
                return
            over.wait(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield hangs
    finally:
        over.set()
        thread.join()
        os.kill(region.pid, signal.SIGCONT)


def work_areas(into: Path) -> list[Path]:
    """What restores into ``into`` have laid beside it."""
    return list(into.parent.glob(f".{into.name}.kb-dr-partial-*"))
