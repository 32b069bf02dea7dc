"""A running service is replaced in place by what it was at the time asked for, or not touched."""

import json
import os
import pty
import subprocess
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.errors import (
    DataDirectoryInUse,
    NotEnoughSpace,
    RecoveryError,
    TargetIsProduction,
    WrongCluster,
)
from kb_dr.operations.plan_replacement import require_consent
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_service import ended, environment
from kb_dr_tests.replaceable import ONLY_THERE, RunningService

YES = ("--force-production", "--confirm-service", "kb", "--yes")


def test_a_service_is_what_it_was_at_the_time_asked_for(running: RunningService) -> None:
    with psycopg.connect(f"host={running.sockets} user=postgres dbname=postgres") as client:
        client.execute("select 1")

        said = running.kb_dr.run(*running.words(*YES, "--json")).require(0)

        with pytest.raises(psycopg.OperationalError):
            client.execute("select 1")

    told = json.loads(said.out)
    kept = Path(told["kept"])
    assert running.entries == ["a", "b"]
    assert running.app.exists()
    assert running.calls == [
        *("health", "app-stop", "postgres-stop"),
        *("postgres-start", "migrations-check", "app-start", "health"),
    ]
    assert [each["name"] for each in told["phases"]] == [
        *("look at the old service", "stop the application", "end sessions", "stop the server"),
        *("fetch and unpack", "verify files", "replay", "shut down", "put in place"),
        *("swap the directories", "start the server", "check the server", "check migrations"),
        *("start the application", "check the service"),
    ]
    assert running.beside == ["data", kept.name]
    assert kept.name.startswith("data.before-")
    assert running.query("show archive_mode") == [("off",)], "until it is taken into service"
    assert running.query("show cluster_name") == [("this host",)], "its own configuration stands"
    assert running.query("select pg_is_in_recovery()") == [(False,)]
    assert running.data.stat().st_mode == kept.stat().st_mode
    assert any(f"mv {kept} {running.data}" in step for step in told["next_steps"])
    assert running.unfinished() is None


def test_the_hand_written_way_back_leads_back(running: RunningService) -> None:
    said = running.kb_dr.run(*running.words(*YES, "--json")).require(0)
    [line] = [step for step in json.loads(said.out)["next_steps"] if "to go back" in step]

    for step in line.split(": ", 1)[1].split("; "):
        command = step.rpartition("COMMAND: ")[2]
        running.directory.joinpath("by-hand").write_text(f"#!/bin/sh\n{command}\n")
        running.directory.joinpath("by-hand").chmod(0o700)
        running.script("by-hand")

    running.require_old_service()


def test_what_was_set_with_alter_system_stands_in_the_replaced_cluster(
    running: RunningService,
) -> None:
    running.query("alter system set work_mem = '7MB'")
    running.query("alter system set archive_mode = 'on'")

    said = running.kb_dr.run(*running.words(*YES, "--json")).require(0)

    assert running.query("show work_mem") == [("7MB",)]
    assert running.query("show archive_mode") == [("off",)]
    assert "ALTER SYSTEM SET archive_mode = 'on'" in said.out


def test_a_dry_run_names_each_step_and_command_and_changes_nothing(
    running: RunningService,
) -> None:
    said = running.kb_dr.run(*running.words("--dry-run", "--json")).require(0)

    plan = json.loads(said.out)["plan"]
    assert [each["step"] for each in plan["steps"]] == [
        *("stop the application", "end sessions", "stop the server", "restore beside"),
        *("swap the directories", "start the server", "check the server", "check migrations"),
        *("start the application", "check the service"),
    ]
    assert plan["steps"][2]["runs"].endswith("/postgres-stop")
    people = running.kb_dr.run(*running.words("--dry-run")).require(0)
    assert "dry run: nothing was changed" in people.out
    assert running.calls == []
    running.require_old_service()


def test_the_cluster_of_a_server_that_died_is_replaced_once_a_person_says_so(
    running: RunningService,
) -> None:
    running.script("postgres-stop")
    left = running.data / "postmaster.pid"
    left.write_text("999999\n/gone\n1\n5432\n\n\n1 1\nready\n")

    running.kb_dr.run(*running.words(*YES)).require(45, "no process is seen", f"remove {left}")
    left.unlink()
    running.kb_dr.run(*running.words(*YES)).require(0)

    assert running.entries == ["a", "b"]


def test_without_commands_a_stopped_cluster_is_swapped_and_left_stopped(
    running: RunningService,
) -> None:
    running.script("postgres-stop")
    nothing = dict.fromkeys(
        [name for name in running.kb_dr.settings if name.endswith("_COMMAND")], ""
    )

    said = running.kb_dr.run(*running.words(*YES, "--json"), **nothing).require(0)

    assert any("is left stopped" in note for note in json.loads(said.out)["notes"])
    running.script("postgres-start")
    assert running.entries == ["a", "b"]


# refusals


def _untouched(running: RunningService) -> None:
    assert running.calls == []
    assert running.beside == ["data"]
    running.require_old_service()


def test_production_is_refused_unless_forced(running: RunningService) -> None:
    said = running.kb_dr.run(*running.words("--confirm-service", "kb", "--yes"))

    said.require(46, "it is production of service kb", "--force-production")
    _untouched(running)


def test_the_wrong_name_is_refused(running: RunningService) -> None:
    words = ("--force-production", "--confirm-service", "bk", "--yes")

    running.kb_dr.run(*running.words(*words)).require(2, "'bk', expected 'kb'")
    _untouched(running)


@pytest.mark.parametrize(
    ("typed", "status", "expected"),
    [("bk", 2, ["a", "b", "c", ONLY_THERE]), ("kb", 0, ["a", "b"])],
)
def test_on_a_terminal_the_name_is_asked_for(
    running: RunningService, typed: str, status: int, expected: list[str]
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as keyboard, os.fdopen(theirs, "rb") as terminal:
        child = subprocess.Popen(
            running.kb_dr.words(*running.words("--force-production")),
            env=environment({}),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        keyboard.write(f"{typed}\n".encode())
        said = ended(child)

    said.require(status, "Type kb to go on")
    assert running.entries == expected


def test_without_yes_only_the_plan_is_shown(running: RunningService) -> None:
    said = running.kb_dr.run(*running.words("--force-production"))

    said.require(2, "not confirmed", "add --yes --confirm-service kb")
    assert "stop the server" in said.out
    _untouched(running)


def test_consent_is_asked_for_wherever_a_plan_comes_from(running: RunningService) -> None:
    plan, _ = running.plan()

    with pytest.raises(TargetIsProduction):
        require_consent(plan, force_production=False, typed="kb")


def test_the_words_of_a_replacement_are_refused_without_it(running: RunningService) -> None:
    words = [each for each in running.words("--yes") if each != "--replace"]

    running.kb_dr.run(*words).require(2, "go with --replace")


def test_another_cluster_is_never_replaced(
    running: RunningService, postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path / "other") as other:
        other.query("create table theirs ()")
        words = [*running.words(*YES)]
        words[words.index(str(running.data))] = str(other.data)

        running.kb_dr.run(*words).require(23, "it holds cluster")

        assert other.query("select count(*) from theirs") == [(0,)]
    _untouched(running)


def test_a_server_other_than_the_one_the_settings_name_is_refused(
    running: RunningService, postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with (
        RunningCluster(postgres_programs, tmp_path / "other") as other,
        pytest.raises(WrongCluster, match="answers at KB_DB_HOST"),
    ):
        running.plan(KB_DB_HOST=str(other.sockets))
    _untouched(running)


def test_a_running_server_without_a_stop_command_is_refused(running: RunningService) -> None:
    with pytest.raises(DataDirectoryInUse, match="its server is running"):
        running.plan(KB_DR_POSTGRES_STOP_COMMAND="", KB_DR_POSTGRES_START_COMMAND="")
    _untouched(running)


def test_too_little_room_for_both_is_refused(
    running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kb_dr.adapters.postgres_host import LocalPostgresHost

    monkeypatch.setattr(LocalPostgresHost, "free_bytes", lambda *_: 1000)

    with pytest.raises(NotEnoughSpace):
        running.plan()
    _untouched(running)


def test_a_standby_a_link_and_an_empty_directory_are_refused(
    running: RunningService, tmp_path: Path
) -> None:
    opened = running.opened()
    wanted = running.production.wanted
    (tmp_path / "link").symlink_to(running.data)
    (tmp_path / "empty").mkdir()

    with pytest.raises(RecoveryError, match="symbolic link"):
        opened.plan_replacement(wanted, None, tmp_path / "link")
    with pytest.raises(RecoveryError, match="no cluster stands there"):
        opened.plan_replacement(wanted, None, tmp_path / "empty")
    (running.data / "standby.signal").touch()
    with pytest.raises(RecoveryError, match="it is a standby"):
        running.plan()
    (running.data / "standby.signal").unlink()
    _untouched(running)


def test_the_row_that_shows_the_old_service_is_in_no_backup(running: RunningService) -> None:
    assert ONLY_THERE in running.entries
