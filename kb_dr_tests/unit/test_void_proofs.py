"""A blind verifier is seen wherever somebody looks: on the pages, in list, show and status."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

from kb_dr.cli import controls, list_backups, show, status, verify
from kb_dr.cli.app import run
from kb_dr.defs import ledger
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.sensors import pages_follow_the_repository
from kb_dr.defs.recovery import keys as recovery_keys
from kb_dr.defs.recovery.schedules import make_schedules
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain import layout
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Outcome, Standing, Verdict
from kb_dr.errors import PostgresUnavailable, RepositoryUnavailable
from kb_dr.operations.controls import store_control_run
from kb_dr_tests.made_controls import BLIND, COULD_NOT_RUN, MISJUDGED, made_run
from kb_dr_tests.made_installation import MadeInstallation

BLINDED = {Damage.ROWS_DROPPED: BLIND}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _silent() -> Any:
    raise PostgresUnavailable("ask the source: it is gone")


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeInstallation:
    made = MadeInstallation(tmp_path)
    made.source = cast("Any", SimpleNamespace(facts=_silent))
    for module in (controls, list_backups, show, status, verify):
        monkeypatch.setattr(module, "installation", lambda: made)
    return made


@pytest.fixture
def stored(installation: MadeInstallation) -> StoredManifest:
    """A backup in both copies, proven from both."""
    made = installation.has_backup()
    installation.has_offsite_copy(made)
    installation.has_proof(made, Verdict.PROVEN)
    installation.has_proof(made, Verdict.PROVEN, copy="primary")
    return made


def controlled(
    installation: MadeInstallation, minutes: int, outcomes: dict[Damage, ControlOutcome]
) -> None:
    """A round that ended so many minutes after the backup."""
    (stored,) = (each for each in installation.catalog("primary"))
    assert isinstance(stored, StoredManifest)
    finished = stored.manifest.finished + timedelta(minutes=minutes)
    store_control_run(list(installation.memory.values()), made_run(finished, outcomes))


def sync(instance: dg.DagsterInstance, installation: MadeInstallation) -> str:
    context = dg.build_sensor_context(
        instance=instance, resources={"door": InstallationDoor(lambda: installation)}
    )
    said = pages_follow_the_repository(context)
    assert isinstance(said, dg.SkipReason)
    return said.skip_message or ""


def light(instance: dg.DagsterInstance, stored: StoredManifest) -> bool | None:
    return ledger.shown(instance, keys.RESTORE_PROVEN).get(stored.manifest.id)


# --- the pages --------------------------------------------------------------------------------


def test_a_blind_control_turns_every_green_red_until_a_new_proof_after_a_good_round(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    sync(instance, installation)
    assert light(instance, stored) is True

    controlled(installation, 20, BLINDED)
    sync(instance, installation)
    assert light(instance, stored) is False

    installation.has_proof(stored, Verdict.PROVEN, minutes=30)
    sync(instance, installation)
    assert light(instance, stored) is False, "whoever is blind proves nothing now either"

    controlled(installation, 40, {})
    sync(instance, installation)
    assert light(instance, stored) is False, "nobody knows when the verifier was mended"

    installation.has_proof(stored, Verdict.PROVEN, minutes=50)
    sync(instance, installation)
    assert light(instance, stored) is True
    assert "brought in line: none" in sync(instance, installation)


def test_the_red_light_says_which_damage_was_not_seen(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    controlled(installation, 20, BLINDED)

    result = (
        installation.definitions()
        .resolve_job_def("verify_job")
        .execute_in_process(
            instance=_with_partition(instance, stored),
            partition_key=stored.manifest.id,
            raise_on_error=False,
        )
    )

    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert (evaluation.description or "").startswith("void: negative control")
    assert "rows_dropped" in (evaluation.description or "")


def _with_partition(instance: dg.DagsterInstance, stored: StoredManifest) -> dg.DagsterInstance:
    instance.add_dynamic_partitions("postgres_backups", [stored.manifest.id])
    return instance


def test_an_untried_backup_stays_neither_green_nor_red_while_proofs_are_void(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    controlled(installation, 20, BLINDED)
    untried = installation.has_backup(days=1)

    sync(instance, installation)

    assert light(instance, untried) is None


def test_a_record_that_cannot_be_read_takes_the_green_off(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    sync(instance, installation)
    assert light(instance, stored) is True

    installation.memory["primary"].bodies[layout.control_key("20261120-030000-x")] = b"damaged"
    sync(instance, installation)

    assert light(instance, stored) is None


def test_the_job_of_a_blind_verifier_leaves_a_record_and_a_red_check(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.outcomes = BLINDED

    result = run_job(instance, installation)

    assert result.success
    (event,) = result.asset_materializations_for_node("recovery__controls")
    assert event.metadata["blind"].value == 1
    assert "rows_dropped" in str(event.metadata["controls"].value)
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed) == ("verifier_sees_damage", False)
    assert "all proofs are void" in (evaluation.description or "")


def test_the_job_of_a_verifier_that_sees_leaves_a_green_check(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    result = run_job(instance, installation)

    (event,) = result.asset_materializations_for_node("recovery__controls")
    assert event.metadata["passed"].value is True
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed


def run_job(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> dg.ExecuteInProcessResult:
    return (
        installation.definitions()
        .resolve_job_def("negative_controls_job")
        .execute_in_process(instance=instance, raise_on_error=False)
    )


def test_controls_are_due_on_the_second_of_each_month(
    tmp_path: Path, installation: MadeInstallation
) -> None:
    schedules = {each.name: each for each in make_schedules(ScheduleTimes())}
    schedule = schedules["monthly_negative_controls"]
    assert schedule.cron_schedule == "0 5 2 * *"
    for each in schedules.values():
        assert each.execution_timezone == "UTC"
        assert each.default_status is dg.DefaultScheduleStatus.RUNNING
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as kept:
        context = dg.build_schedule_context(
            instance=kept,
            scheduled_execution_time=datetime(2026, 12, 2, 5, tzinfo=UTC),
            resources={"door": InstallationDoor(lambda: installation)},
        )
        none = schedule(context)
        installation.has_offsite_copy(installation.has_backup())
        some = schedule(context)

    assert isinstance(none, dg.SkipReason)
    assert isinstance(some, dg.RunRequest)


def test_the_controls_stand_in_a_group_of_their_own() -> None:
    assert dg.AssetKey(["recovery", "controls"]) == recovery_keys.CONTROLS


# --- the command line -------------------------------------------------------------------------


def test_list_and_show_call_void_proofs_void(
    installation: MadeInstallation, stored: StoredManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    controlled(installation, 20, BLINDED)

    assert run(["list"]) == 0
    listed = capsys.readouterr().out
    assert run(["show", stored.manifest.id]) == 0
    shown = capsys.readouterr().out
    assert run(["show", stored.manifest.id, "--json"]) == 0
    void = json.loads(capsys.readouterr().out)["void"]

    assert "primary void, offsite void" in listed
    assert shown.count("PROVEN (void)") == 2
    assert len(void) == 2


def test_a_proof_made_while_the_verifier_is_blind_is_no_success(
    installation: MadeInstallation, stored: StoredManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", stored.manifest.id]) == 0

    controlled(installation, 20, BLINDED)
    assert run(["verify", stored.manifest.id]) == 64
    assert "it is void" in capsys.readouterr().err

    controlled(installation, 40, {})
    assert run(["verify", stored.manifest.id]) == 0


def test_status_shows_that_all_proofs_are_void(
    installation: MadeInstallation, stored: StoredManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    controlled(installation, 20, BLINDED)

    assert run(["status"]) == 63
    out = capsys.readouterr().out

    assert "all proofs are void" in out
    assert "rows_dropped" in out
    assert "none (1 void)" in out


def test_status_says_up_to_when_proofs_are_void(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    controlled(installation, 20, BLINDED)
    controlled(installation, 40, {})
    installation.clock.sleep(3600.0)

    seen = installation.status()

    assert {copy.proven for copy in seen.copies} == {()}
    assert {each.standing for copy in seen.copies for each in copy.backups} == {Standing.VOID}
    (held,) = [each for each in seen.objectives if each.subject == "negative controls"]
    assert held.outcome is Outcome.PASSED
    assert any("and before are void" in note for note in seen.notes)
    assert not seen.holds


def test_a_new_installation_holds_without_controls_and_an_old_one_does_not(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    clock = installation.clock
    fresh = installation.controls_held()
    clock.sleep(36 * 86400.0)

    assert (fresh.outcome, fresh.good) == (Outcome.NOT_APPLICABLE, True)
    assert not installation.controls_held().good


def test_a_record_nobody_can_read_is_taken_for_a_void_and_said(
    installation: MadeInstallation, stored: StoredManifest, caplog: pytest.LogCaptureFixture
) -> None:
    key = layout.control_key("20261120-030000-x")
    installation.memory["offsite"].bodies[key] = b"damaged"

    assert set(installation.standings(stored, ["primary", "offsite"]).values()) == {Standing.VOID}
    assert key in caplog.text
    (held,) = [e for e in installation.status().objectives if e.subject == "negative controls"]
    assert held.outcome is Outcome.COULD_NOT_RUN


def test_a_copy_that_is_down_does_not_hide_what_the_other_knows(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    controlled(installation, 20, BLINDED)
    installation.memory["primary"].failures[""] = RepositoryUnavailable("list: down")

    assert installation.standings(stored, ["offsite"]) == {"offsite": Standing.VOID}


@pytest.mark.parametrize(
    ("outcomes", "code", "text"),
    [
        ({}, 0, ""),
        ({Damage.HISTORY_MISSING: COULD_NOT_RUN}, 0, ""),
        (BLINDED, 64, "rows_dropped came out PROVEN"),
        ({**BLINDED, Damage.WAL_EMPTY: MISJUDGED}, 64, "rows_dropped came out PROVEN"),
        ({Damage.WAL_EMPTY: MISJUDGED}, 60, "wal_empty"),
        ({Damage.WAL_EMPTY: COULD_NOT_RUN}, 62, "wal_empty could not run"),
    ],
)
def test_the_exit_code_tells_blind_from_misjudged_from_not_run(
    outcomes: dict[Damage, ControlOutcome],
    code: int,
    text: str,
    installation: MadeInstallation,
    stored: StoredManifest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    installation.outcomes = outcomes

    assert run(["controls"]) == code

    said = capsys.readouterr()
    assert text in said.err
    assert all(damage in said.out for damage in Damage)
    assert len(installation.controls()) == 1


def test_single_controls_can_be_asked_for(
    installation: MadeInstallation, stored: StoredManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["controls", "--only", "wal_empty", "--only", "wrong_key", "--json"]) == 0

    results = json.loads(capsys.readouterr().out)["results"]
    assert [each["damage"] for each in results] == ["wal_empty", "wrong_key"]
    assert run(["controls", "--only", "no_such_damage"]) == 2


def test_a_drill_on_a_host_that_is_blind_says_so_though_another_host_sees(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    places = list(installation.memory.values())
    finished = stored.manifest.finished
    blind = replace(made_run(finished, BLINDED), host=socket.gethostname())
    store_control_run(places, blind)
    store_control_run(places, replace(made_run(finished + timedelta(hours=1)), host="elsewhere"))
    installation.clock.sleep(7200)

    (said,) = installation.void_by_now()

    assert installation.controls_held().good
    assert not said.good
    assert socket.gethostname() in said.seen
    mended = replace(made_run(finished + timedelta(hours=1.5)), host=socket.gethostname())
    store_control_run(places, mended)
    assert installation.void_by_now() == ()
