"""A server whose processes are not seen, in a container of its own: it keeps its directory."""

from collections.abc import Iterator

import psutil
import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.standing_clusters import LocalStandingClusters
from kb_dr.domain.replacement import ServerState
from kb_dr.errors import DataDirectoryInUse, ServiceCommandFailed
from kb_dr.operations.replace_postgres import replace_postgres
from kb_dr_tests.replaceable import RunningService


@pytest.fixture
def running(running: RunningService, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningService]:
    """Its processes are not among those that are seen, until it is ended."""
    with monkeypatch.context() as patched:
        patched.setattr(psutil, "process_iter", lambda *_: iter(()))
        assert LocalStandingClusters().server_of(running.data) is ServerState.STALE
        yield running


def _shut_out(running: RunningService) -> None:
    (running.data / "pg_hba.conf").write_text("local all all reject\n")
    running.query("select pg_reload_conf()")


def _let_in(running: RunningService) -> None:
    (running.data / "pg_hba.conf").write_text("local all all trust\n")
    running.script("postgres-stop")
    running.script("postgres-start")


@pytest.mark.parametrize("driven", [True, False], ids=["with commands", "without"])
@pytest.mark.parametrize("pid_file", [True, False], ids=["", "no pid file"])
def test_one_that_refuses_us_runs(running: RunningService, driven: bool, pid_file: bool) -> None:
    nothing = {f"KB_DR_POSTGRES_{each}_COMMAND": "" for each in ("START", "STOP")}
    _shut_out(running)
    left = running.data / "postmaster.pid"
    words = left.read_text()
    if not pid_file:
        left.unlink()

    with pytest.raises(DataDirectoryInUse):
        running.plan(**({} if driven else nothing))

    left.write_text(words)
    assert running.beside == ["data"]
    _let_in(running)
    running.require_old_service()


def test_one_that_answers_is_replaced_by_its_commands(running: RunningService) -> None:
    plan, here = running.plan()

    replace_postgres(plan, here, SilentProgress())

    assert plan.was_running
    assert running.entries == ["a", "b"]


def test_a_stop_that_stops_nothing_is_seen_though_the_server_refuses_us(
    running: RunningService,
) -> None:
    plan, here = running.plan(KB_DR_COMMAND_SECONDS="3")
    running.instead("postgres-stop", f"echo local all all reject >{running.data}/pg_hba.conf; "
                    f"kill -HUP $(head -1 {running.data}/postmaster.pid)", always=True)  # fmt: skip
    running.instead("postgres-start", "echo local all all trust "
                    f">{running.data}/pg_hba.conf; kill -HUP $(head -1 "
                    f"{running.data}/postmaster.pid)", always=True)  # fmt: skip

    with pytest.raises(ServiceCommandFailed, match=r"postmaster\.pid stands there"):
        replace_postgres(plan, here, SilentProgress())

    for each in running.directory.glob("always-*"):
        each.unlink()
    running.require_old_service()


def test_a_server_that_answers_somewhere_is_not_stopped(running: RunningService) -> None:
    plan, here = running.plan(KB_DR_COMMAND_SECONDS="3")
    left = running.data / "postmaster.pid"
    running.instead("postgres-stop", f"mv {left} {left}.kept", always=True)
    running.instead("postgres-start", f"mv {left}.kept {left}", always=True)

    with pytest.raises(ServiceCommandFailed, match="still answers"):
        replace_postgres(plan, here, SilentProgress())

    for each in running.directory.glob("always-*"):
        each.unlink()
    running.require_old_service()
