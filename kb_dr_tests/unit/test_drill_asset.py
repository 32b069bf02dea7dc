"""Drills that Dagster starts: red when not passed, on record either way, missed when overdue."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.defs import ledger
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys as postgres
from kb_dr.defs.recovery import keys
from kb_dr.defs.recovery.recovery_schedules import make_recovery_schedules
from kb_dr.defs.resources import ScheduleTimes
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.drill import Drill
from kb_dr.domain.drill_report import drill_report
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.operations.drill_records import store_drill
from kb_dr.ports import Progress
from kb_dr_tests.made_drills import made_drill, not_known_rpo
from kb_dr_tests.made_installation import MadeInstallation

STEP = "recovery__drill"


class _Drilled(MadeInstallation):
    """A drill is played; its proof and its record are stored as real ones are."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.asked: list[tuple[str | None, int | None, bool]] = []
        self.rpo_known = True
        self.stored: StoredManifest = self.has_backup()
        self.has_offsite_copy(self.stored)
        self.clock.sleep(3 * 3600)

    def drill(
        self, copy: str | None, progress: Progress, *, seed: int | None, to_the_end: bool = False
    ) -> Drill:
        """One that comes to ``verdict``."""
        del progress
        self.asked.append((copy, seed, to_the_end))
        self.clock.sleep(60)
        name = copy or "offsite"
        proof = self.has_proof(self.stored, self.verdict, copy=name, minutes=len(self.asked))
        made = made_drill(
            self.clock.now(), copy=name, url=self.repository(name).url, verdict=self.verdict
        )
        made = replace(made, backup_id=proof.backup_id, proof_id=proof.id)
        drill = made if self.rpo_known else not_known_rpo(made)
        store_drill(tuple(self.memory.values()), drill)
        return drill


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> _Drilled:
    return _Drilled(tmp_path)


def drill(
    installation: _Drilled,
    instance: dg.DagsterInstance,
    job: str = "disaster_recovery_drill",
    form: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    resolved = installation.definitions().resolve_job_def(job)
    filled = {"ops": {STEP: {"config": form}}} if form is not None else None
    return resolved.execute_in_process(run_config=filled, instance=instance, raise_on_error=False)


def readiness(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> dg.AssetCheckEvaluation:
    job = installation.definitions().resolve_job_def("readiness_job")
    (evaluation,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert evaluation.asset_key == keys.READINESS
    return evaluation


def test_a_drill_that_was_passed_is_materialised_with_its_report(
    installation: _Drilled, instance: dg.DagsterInstance
) -> None:
    result = drill(installation, instance)

    assert result.success
    (event,) = result.asset_materializations_for_node(STEP)
    (kept,) = installation.drills()
    assert event.asset_key == keys.DRILL
    assert event.metadata["report"].value == drill_report(kept)
    assert event.metadata["rto_seconds"].value == kept.rto_seconds
    assert event.metadata["rpo_seconds"].value == kept.rpo_seconds
    assert event.metadata["verdict"].value == "PROVEN"
    assert event.metadata["proof_id"].value == kept.proof_id
    assert "| fetch and unpack | 3.2 | 1,000 |" in str(event.metadata["phases"].value)
    assert (event.tags or {})[ledger.DATA_VERSION_TAG] == kept.id


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.NOT_PROVEN])
def test_a_drill_that_was_not_passed_fails_the_run_and_stays_on_record(
    installation: _Drilled, instance: dg.DagsterInstance, verdict: Verdict
) -> None:
    installation.verdict = verdict

    result = drill(installation, instance)

    assert not result.success
    assert result.asset_materializations_for_node(STEP) == []
    (event,) = [each for each in result.all_events if each.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert "NOT PASSED" in str(data.metadata["report"].value)
    assert str(verdict) in str(data.metadata["shortfalls"].value)
    assert len(installation.drills()) == 1


def test_an_rpo_nobody_knows_is_no_figure(
    installation: _Drilled, instance: dg.DagsterInstance
) -> None:
    installation.rpo_known = False

    result = drill(installation, instance)

    (event,) = [each for each in result.all_events if each.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert "rpo_seconds" not in data.metadata
    assert "RPO not known" in str(data.metadata["shortfalls"].value)


def test_a_failed_drill_turns_the_light_of_its_backup_red_at_once(
    installation: _Drilled, instance: dg.DagsterInstance
) -> None:
    backup = installation.stored.manifest.id
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, [backup])
    ledger.record_materialisation(
        instance, postgres.BACKUP, backup, data_version=installation.stored.digest, metadata={}
    )
    drill(installation, instance)
    assert ledger.shown(instance, postgres.RESTORE_PROVEN) == {backup: True}

    installation.verdict = Verdict.FAILED
    drill(installation, instance)

    assert ledger.shown(instance, postgres.RESTORE_PROVEN) == {backup: False}


def test_the_form_decides_what_is_drilled(
    installation: _Drilled, instance: dg.DagsterInstance
) -> None:
    drill(installation, instance)
    drill(installation, instance, "monthly_restore_test")
    drill(installation, instance, form={"copy_read": "primary", "seed": 4711, "to_the_end": True})

    assert installation.asked == [
        (None, None, False),
        (None, None, True),
        ("primary", 4711, True),
    ]


def test_readiness_is_red_until_a_drill_was_passed(
    installation: _Drilled, instance: dg.DagsterInstance
) -> None:
    before = readiness(installation, instance)
    assert not before.passed
    assert before.description == "no drill has been run"

    drill(installation, instance)
    assert readiness(installation, instance).passed


def test_readiness_turns_red_in_time(installation: _Drilled, instance: dg.DagsterInstance) -> None:
    drill(installation, instance)

    installation.clock.sleep(101 * 86400)

    late = readiness(installation, instance)
    assert not late.passed
    assert "101.0 d ago, allowed 100 d" in (late.description or "")


def test_readiness_is_red_after_a_drill_that_was_not_passed(
    installation: _Drilled, instance: dg.DagsterInstance
) -> None:
    drill(installation, instance)
    installation.verdict = Verdict.FAILED
    drill(installation, instance)

    assert not readiness(installation, instance).passed


def test_readiness_believes_no_drill_of_a_blind_verifier(
    installation: _Drilled, instance: dg.DagsterInstance
) -> None:
    drill(installation, instance)
    installation.outcomes = {Damage.ROWS_DROPPED: ControlOutcome.BLIND}
    installation.run_controls(None, "offsite", SilentProgress())

    red = readiness(installation, instance)

    assert not red.passed
    assert "void" in (red.description or "")


# schedules


@pytest.fixture
def kept_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "cron", "to_the_end"),
    [
        ("quarterly_drill", "0 7 1 1,4,7,10 *", False),
        ("monthly_restore_to_the_end", "0 7 15 * *", True),
    ],
)
def test_a_schedule_says_itself_how_far_its_drill_goes(
    kept_instance: dg.DagsterInstance, name: str, cron: str, to_the_end: bool
) -> None:
    (schedule,) = [s for s in make_recovery_schedules(ScheduleTimes()) if s.name == name]
    context = dg.build_schedule_context(
        instance=kept_instance, scheduled_execution_time=datetime(2026, 1, 1, 7, tzinfo=UTC)
    )

    (request,) = schedule.evaluate_tick(context).run_requests or ()

    assert schedule.cron_schedule == cron
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert request.run_config["ops"][STEP]["config"] == {
        "copy_read": "auto",
        "to_the_end": to_the_end,
    }
