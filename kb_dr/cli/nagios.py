"""`kb-dr status --nagios`: one line, and an exit status Nagios, Icinga and cron understand."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from kb_dr.cli.opened import installation
from kb_dr.errors import KbDrError, RepositoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kb_dr.domain.nagios import Said


def check_status(*, everything: bool, timeout_seconds: float | None) -> int:
    """Say the status; return the exit status: 0, 1, 2, or 3 for what could not be told.

    Whatever goes wrong has one of these: an interpreter that ends with an error of its own exits
    1, which would be read as a warning, and wrong words exit 2.
    """
    from kb_dr.domain.nagios import NagiosState, say

    ending = threading.Lock()  # held by the one who says the line: there is only one
    with _cut_off_after(timeout_seconds, ending):
        try:
            said = _seen(everything)
        except RepositoryError as error:
            said = say(NagiosState.CRITICAL, str(error), lines=_hint(error))
        except KbDrError as error:
            said = say(NagiosState.UNKNOWN, str(error), lines=_hint(error))
        except OSError as error:
            said = say(NagiosState.UNKNOWN, f"{error.strerror or error}")
        except KeyboardInterrupt:
            said = say(NagiosState.UNKNOWN, "interrupted")
        except Exception as error:  # noqa: BLE001 - a bug of ours must not exit 1, a warning
            said = say(NagiosState.UNKNOWN, f"a bug: {type(error).__name__}: {error}")
        ending.acquire()  # never given back: who is late says nothing any more
        return _print(said)


def say_wrong_words(error: click.ClickException) -> int:
    """Usage errors are UNKNOWN; click's own status would be read as CRITICAL."""
    from kb_dr.domain.nagios import NagiosState, say

    return _print(say(NagiosState.UNKNOWN, error.format_message()))


def _seen(everything: bool) -> Said:
    from kb_dr.domain.nagios import say_status

    opened = installation()
    return say_status(opened.status(everything=everything), opened.settings.objectives)


def _hint(error: KbDrError) -> list[str]:
    return [f"hint: {error.hint}"] if error.hint else []


def _print(said: Said) -> int:
    from kb_dr.scrub import scrub

    click.echo(scrub(said.output))
    return int(said.state)


@contextmanager
def _cut_off_after(seconds: float | None, ending: threading.Lock) -> Iterator[None]:
    """End the process when the time is over, whatever it waits for: a store, a name, a lock."""
    from kb_dr.domain.nagios import NagiosState, say

    if seconds is None:
        yield
        return

    def cut_off() -> None:
        if not ending.acquire(blocking=False):
            return
        _print(say(NagiosState.UNKNOWN, f"no answer within {seconds:g} s"))
        sys.stdout.flush()
        os._exit(NagiosState.UNKNOWN)

    timer = threading.Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
