"""`kb-dr ui`: the sandbox and Dagster's pages, until Ctrl-C."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType

import click

from kb_dr.cli.output import say
from kb_dr.errors import SandboxError
from kb_dr.sandbox.alert_part import alerts_url
from kb_dr.sandbox.bring_up import DEFAULT_ENTRIES, note_pages, state_of, up
from kb_dr.sandbox.dagster_services import DagsterServices, dagster_services
from kb_dr.sandbox.places import STATE
from kb_dr.sandbox.take_down import down

LOOK_SECONDS = 1.0


@click.command("ui")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=Path("sandbox"),
    show_default=True, help="Where the sandbox lies, or is built.",
)  # fmt: skip
@click.option(
    "--entries", type=click.IntRange(100, 5_000_000), default=DEFAULT_ENTRIES, show_default=True,
    help="Rows of a new sandbox's knowledge base.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), help="Of the pages; default: a free one.")
def command(directory: Path, entries: int, port: int | None) -> None:
    """Bring up the sandbox and Dagster, print the address, and wait; Ctrl-C ends all of it."""
    _end_on_a_signal()
    try:
        up(directory, entries=entries, say=say)
        with dagster_services(directory, port=port) as services:
            note_pages(directory, services.url)
            say(f"Dagster is at {services.url}")
            say(f"Alerts arrive at {alerts_url(state_of(directory))}")
            say("To begin, launch the job back_up_now. Ctrl-C ends all of it.")
            _wait(services)
    except KeyboardInterrupt:
        say("ended as asked")
    finally:
        if (directory / STATE).is_file():
            down(directory)


def _wait(services: DagsterServices) -> None:
    while not (ended := services.ended()):
        time.sleep(LOOK_SECONDS)
    raise SandboxError(
        f"run Dagster's {', '.join(ended)}: it ended by itself",
        hint=f"Look into the logs in {services.home}.",
    )


def _end_on_a_signal() -> None:
    """Ctrl-C and SIGTERM interrupt whatever is going on, once: ending is never cut short."""
    heard = threading.Event()

    def hear(_number: int, _frame: FrameType | None) -> None:
        if not heard.is_set():
            heard.set()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hear)
    signal.signal(signal.SIGTERM, hear)
