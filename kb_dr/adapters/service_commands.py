"""The operator's own commands, run in a shell as they stand in the settings."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import IO

from kb_dr.adapters.held_signals import HeldSignals
from kb_dr.adapters.http_health import ask_health
from kb_dr.adapters.postgres_programs import last_words
from kb_dr.adapters.unprivileged import end
from kb_dr.domain.service_commands import Command, ServiceCommands
from kb_dr.errors import ServiceCommandFailed, ServiceUnhealthy

_SHELL = "/bin/sh"
_AGAIN_SECONDS = 0.5

_OURS = frozenset(
    {
        "KB_DB_PASSWORD",
        "PGPASSWORD",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
    }
)
_OUR_ENDINGS = (
    "_SECRET_ACCESS_KEY",
    "_ACCESS_KEY_ID",
    "_AGE_IDENTITY_FILE",
    "_PASSWORD_FILE",
)
_WORDS_BYTES = 64 * 1024


class ShellServiceControl:
    """Implements `kb_dr.ports.ServiceControl`."""

    def __init__(self, commands: ServiceCommands) -> None:
        self._commands = commands
        self._signals = HeldSignals()

    @property
    def commands(self) -> ServiceCommands:
        return self._commands

    def run(self, command: Command, also: Mapping[str, str] | None = None) -> bool:
        line = self._commands.line(command)
        if line is None:
            return False
        failure = _run(line, self._commands.seconds, also)
        if failure:
            raise ServiceCommandFailed(f"run {command}: {failure}")
        return True

    def check_health(self, *, patient: bool) -> bool:
        if not self._commands.checks_health:
            return False
        deadline = time.monotonic() + (self._commands.seconds if patient else 0.0)
        while True:
            failure = self._unhealthy()
            if not failure:
                return True
            if time.monotonic() + _AGAIN_SECONDS > deadline:
                raise ServiceUnhealthy(f"check the service: {failure}")
            time.sleep(_AGAIN_SECONDS)

    def uninterrupted(self) -> AbstractContextManager[None]:
        return self._signals.watched()

    def defer_interrupts(self) -> None:
        self._signals.hold()

    def _unhealthy(self) -> str:
        """Why the service is not well, asked once; empty when it is."""
        if self._commands.health is not None:
            failure = _run(self._commands.health, self._commands.seconds)
            if failure:
                return f"{Command.HEALTH} {failure}"
        if self._commands.health_url is not None:
            failure = ask_health(self._commands.health_url)
            if failure:
                return f"KB_DR_HEALTH_URL {failure}"
        return ""


def _run(line: str, seconds: float, also: Mapping[str, str] | None = None) -> str:
    """Run a line; why it failed, empty when it did not."""
    try:
        return _run_to_its_end(line, seconds, also or {})
    except OSError as error:
        return f"cannot be run: {error.strerror or error}"


def _run_to_its_end(line: str, seconds: float, also: Mapping[str, str]) -> str:
    """Run a line, as _run().

    What it prints goes to a file: a server it leaves running would keep a pipe open for ever.
    """
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [_SHELL, "-c", line],
            env={**passed_on(dict(os.environ)), **also},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            # Ctrl-C on the terminal is ours alone to act upon.
            process_group=0,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            end(process)
            _kill_group(process.pid)
            return f"has not ended within {seconds:g} s{_said(words)}"
        except BaseException:
            end(process)
            _kill_group(process.pid)
            raise
        if status == 0:
            return ""
        if status < 0:
            _kill_group(process.pid)  # somebody ended the shell, and nobody what it ran
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how}{_said(words)}"


def passed_on(environment: dict[str, str]) -> dict[str, str]:
    """Without what is secret to kb_dr: the commands have no business with the backups."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _OURS and not name.endswith(_OUR_ENDINGS)
    }


def _kill_group(group: int) -> None:
    """End what the shell's children left behind."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _said(words: IO[bytes]) -> str:
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - _WORDS_BYTES))
    text = last_words(words.read())
    return f": {text}" if text else ""
