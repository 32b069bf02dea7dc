"""Whatever fails while a service is replaced, the old service comes back with all it had."""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.replace_journal import FileJournal, journal_path
from kb_dr.adapters.service_database import ServiceSession
from kb_dr.adapters.standing_clusters import LocalStandingClusters
from kb_dr.domain.replacement import Places, Replacement
from kb_dr.errors import (
    ChecksumMismatch,
    KbDrError,
    PostgresError,
    RecoveryError,
    RollbackFailed,
    ServiceCommandFailed,
    ServiceUnhealthy,
)
from kb_dr.operations.replace_postgres import Surroundings, replace_postgres
from kb_dr_tests.replaceable import ONLY_THERE, Production, RunningService

SHORT = "8"
"""Seconds, where a deadline has to pass; what must be done within it takes a tenth of that."""
_INTERRUPT = f"kill -INT {os.getpid()}; exec sleep 1000"


@pytest.fixture(scope="module")
def kept() -> Iterator[list[RunningService]]:
    """The service that is used again for as long as it comes back as it was."""
    services: list[RunningService] = []
    yield services
    for each in services:
        each.close()


@pytest.fixture
def running(
    production: Production, kept: list[RunningService], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    if not kept:
        kept.append(RunningService(production, tmp_path_factory.mktemp("service")))
    yield kept[0]
    if not kept[0].is_old_service():
        kept.pop().close()


def fails(
    running: RunningService,
    error: type[BaseException],
    words: str | None = None,
    *,
    change: Callable[[Surroundings], Surroundings] = lambda here: here,
    **settings: str,
) -> BaseException:
    """The replacement fails so, and the old service is back."""
    plan, here = running.plan(**settings)
    with pytest.raises(error, match=words) as failed:
        replace_postgres(plan, change(here), SilentProgress())
    running.require_old_service()
    if isinstance(failed.value, KbDrError):
        assert "the old service is back" in failed.value.hint
    return failed.value


# each command


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        ("app-stop", "KB_DR_APP_STOP_COMMAND"),
        ("postgres-stop", "KB_DR_POSTGRES_STOP_COMMAND"),
        ("postgres-start", "KB_DR_POSTGRES_START_COMMAND"),
        ("migrations-check", "KB_DR_MIGRATIONS_CHECK_COMMAND"),
        ("app-start", "KB_DR_APP_START_COMMAND"),
    ],
)
def test_a_command_that_fails(running: RunningService, command: str, setting: str) -> None:
    running.instead(command, "echo its last words >&2; exit 7")

    fails(running, ServiceCommandFailed, f"run {setting}: ended with status 7: its last words")


@pytest.mark.parametrize("command", ["app-stop", "postgres-stop", "migrations-check"])
def test_a_command_that_hangs_is_ended_with_all_it_started(
    running: RunningService, command: str
) -> None:
    pid = running.directory / "pid"
    running.instead(command, f"sleep 1000 & echo $! >{pid}; wait")

    fails(running, ServiceCommandFailed, "not ended within 8 s", KB_DR_COMMAND_SECONDS=SHORT)

    left = [each for each in psutil.process_iter(["status"]) if each.pid == int(pid.read_text())]
    assert all(each.info["status"] == psutil.STATUS_ZOMBIE for each in left)


def test_a_stop_that_stops_nothing(running: RunningService) -> None:
    running.instead("postgres-stop", "exit 0")

    fails(running, ServiceCommandFailed, "is still running", KB_DR_COMMAND_SECONDS=SHORT)


def test_a_stop_that_did_stop_and_then_failed(running: RunningService) -> None:
    script = (running.directory / "postgres-stop").read_text().splitlines()[-1]
    running.instead("postgres-stop", f"{script}; exit 7")

    fails(running, ServiceCommandFailed, "ended with status 7")

    assert "postgres-start" in running.calls


def test_a_server_that_never_answers(running: RunningService) -> None:
    running.instead("postgres-start", "exit 0")

    fails(running, ServiceUnhealthy, "not there within 8 s", KB_DR_COMMAND_SECONDS=SHORT)


def test_a_service_that_is_not_well_afterwards(running: RunningService) -> None:
    script = (running.directory / "health").read_text().splitlines()[-1]
    asked = f"select 1 / count(*) from ledger where entry = '{ONLY_THERE}'"
    running.instead("health", script.replace("select 1", asked.replace("'", "'\\''")), always=True)

    fails(running, ServiceUnhealthy, "division by zero", KB_DR_COMMAND_SECONDS=SHORT)

    [failed] = [each for each in running.beside if "failed" in each]
    assert (running.place / failed / "PG_VERSION").exists(), "kept to be looked at"


def test_a_service_that_was_not_well_before_need_not_be_afterwards(
    running: RunningService,
) -> None:
    running.instead("health", "exit 1", always=True)

    fails(running, ServiceUnhealthy, "ended with status 1", KB_DR_COMMAND_SECONDS=SHORT)


# each step between the commands


class _NoEnd(ServiceSession):
    def end_sessions(self) -> int:
        raise PostgresError("end sessions: permission denied")


def test_sessions_that_cannot_be_ended(running: RunningService) -> None:
    source = running.opened().settings.source

    fails(
        running,
        PostgresError,
        "permission denied",
        change=lambda here: replace(here, database=_NoEnd(source)),
    )


def test_a_damaged_backup(running: RunningService, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(running.production.service.directory / "repository", damaged)
    chunk = sorted(damaged.glob("full/*/*/base.tar.*"))[0]
    body = bytearray(chunk.read_bytes())
    body[len(body) // 2] ^= 1
    chunk.chmod(0o600)
    chunk.write_bytes(body)

    fails(
        running,
        ChecksumMismatch,
        change=lambda here: replace(here, repository=DirectoryRepository(damaged, "primary")),
    )

    assert running.beside == ["data"], "what was never complete is removed"


class _Clusters(LocalStandingClusters):
    """Does something at the n-th rename, before or after it."""

    def __init__(self, number: int, do: Callable[[], None], *, after: bool = False) -> None:
        self._left = number
        self._do = do
        self._after = after

    def rename(self, old: Path, new: Path) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            self._do()
        super().rename(old, new)
        if self._left == 0 and self._after:
            self._do()


def _refuse() -> None:
    raise RecoveryError("rename: input/output error")


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [1, 2], ids=["the first", "the second"])
def test_a_rename_that_fails(running: RunningService, number: int) -> None:
    fails(
        running,
        RecoveryError,
        "input/output error",
        change=lambda here: replace(here, clusters=_Clusters(number, _refuse)),
    )

    assert [each for each in running.beside if "failed" in each]


class _Reluctant(LocalStandingClusters):
    """Its journal says that it is done, and then fails; it must not say so on the way back."""

    def open_journal(self, places: Places) -> FileJournal:
        class Journal(FileJournal):
            def write(self, replacement: Replacement) -> None:
                super().write(replacement)
                if replacement.is_done:
                    raise RecoveryError("keep the journal: input/output error")

        path = journal_path(places.target)
        super().open_journal(places).close(done=False)
        return Journal(path, os.open(path, os.O_RDWR | os.O_APPEND))

    def rename(self, old: Path, new: Path) -> None:
        target = old if "." not in old.name else new
        assert "." in target.name or self.unfinished(target) is not None
        super().rename(old, new)


def test_a_journal_that_may_say_done_does_not_say_so_on_the_way_back(
    running: RunningService,
) -> None:
    fails(
        running,
        RecoveryError,
        "input/output error",
        change=lambda here: replace(here, clusters=_Reluctant()),
    )


# cancelled


@pytest.mark.parametrize(
    "command",
    ["app-stop", "postgres-stop", "postgres-start", "migrations-check", "app-start"],
)
def test_ctrl_c_while_a_command_runs(running: RunningService, command: str) -> None:
    running.instead(command, _INTERRUPT)

    fails(running, KeyboardInterrupt)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_other_signals_do_the_same(running: RunningService, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    running.instead("migrations-check", f"kill -{number.value} {os.getpid()}; exec sleep 1000")

    fails(running, KeyboardInterrupt)

    assert signal.getsignal(number) is before


def test_ctrl_c_while_the_service_is_asked_whether_it_is_well(running: RunningService) -> None:
    # The first time it is asked is before anything is done.
    count = running.directory / "asked"
    running.instead(
        "health",
        f'echo >>{count}; if [ "$(wc -l <{count})" -eq 2 ]; then {_INTERRUPT}; fi; exit 0',
        always=True,
    )

    fails(running, KeyboardInterrupt)


def test_ctrl_c_while_sessions_are_ended(running: RunningService) -> None:
    class Interrupted(ServiceSession):
        def end_sessions(self) -> int:
            _interrupt()
            return super().end_sessions()

    source = running.opened().settings.source

    fails(
        running,
        KeyboardInterrupt,
        change=lambda here: replace(here, database=Interrupted(source)),
    )


def test_ctrl_c_while_the_restore_runs(running: RunningService) -> None:
    class Interrupted(DirectoryRepository):
        def read(self, key: str) -> bytes:
            if key.startswith("wal/"):
                _interrupt()
            return super().read(key)

    root = running.production.service.directory / "repository"

    fails(
        running,
        KeyboardInterrupt,
        change=lambda here: replace(here, repository=Interrupted(root, "primary")),
    )

    assert running.beside == ["data"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2], ids=["the first rename", "the second rename"])
def test_ctrl_c_around_each_rename(running: RunningService, number: int, after: bool) -> None:
    fails(
        running,
        KeyboardInterrupt,
        change=lambda here: replace(here, clusters=_Clusters(number, _interrupt, after=after)),
    )


def test_a_second_ctrl_c_does_not_stop_the_way_back(running: RunningService) -> None:
    script = (running.directory / "postgres-stop").read_text().splitlines()[-1]
    disturbed = running.directory / "disturbed"
    running.instead("postgres-stop", f"kill -INT {os.getpid()}; touch {disturbed}; {script}")
    # The first stop is the way forth: only that of the way back is to be disturbed.
    armed, later = running.directory / "once-postgres-stop", running.directory / "later"
    armed.rename(later)
    running.instead("migrations-check", f"mv {later} {armed}; {_INTERRUPT}")

    fails(running, KeyboardInterrupt)

    assert disturbed.exists()


# the way back itself


def test_a_way_back_that_fails_says_where_everything_is_and_can_be_gone_on_with(
    running: RunningService,
) -> None:
    running.instead("migrations-check", f"touch {running.directory / 'broken'}; exit 7")
    running.instead(
        "postgres-start",
        f"if [ -e {running.directory / 'broken'} ]; then echo no more >&2; exit 9; fi\n"
        + (running.directory / "postgres-start").read_text().splitlines()[-1],
        always=True,
    )
    plan, here = running.plan()

    with pytest.raises(RollbackFailed, match="ended with status 9: no more") as failed:
        replace_postgres(plan, here, SilentProgress())

    assert "KB_DR_MIGRATIONS_CHECK_COMMAND: ended with status 7" in str(failed.value)
    assert f"the old directory is {running.data}" in failed.value.hint
    assert re.search(r"1\. KB_DR_POSTGRES_START_COMMAND: \S+/postgres-start; 2\. KB_DR_APP_START",
                     failed.value.hint)  # fmt: skip
    assert running.unfinished() is not None
    (running.directory / "broken").unlink()
    running.kb_dr.run("restore", "--into", str(running.data), "--roll-back", "--yes").require(0)
    running.require_old_service()
