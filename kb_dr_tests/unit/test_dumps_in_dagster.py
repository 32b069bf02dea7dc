"""Dumps run unattended, beside base backups and not behind them, and green nothing of theirs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kb_dr.defs import ledger
from kb_dr.defs.alerting.finished_runs import Ended
from kb_dr.defs.alerting.run_notices import notices_of, run_key
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys, sensors
from kb_dr.defs.postgres.requests import FILES, ROWS, SOURCE_TAG
from kb_dr.defs.postgres.schedules import PROOF_OP, make_schedules
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.notice import State
from kb_dr.domain.proof import Verdict
from kb_dr.errors import BackupInProgress, PostgresUnavailable
from kb_dr.operations.catalog import store_manifest
from kb_dr_tests.made_installation import MadeInstallation

SUNDAY = datetime(2026, 11, 22, 3, tzinfo=UTC)
DUMP, FULL = "kb-dump-20261122-030000", "kb-full-20261122-020000"
BUSY = BackupInProgress("dump kb of h:5432: another dump is running")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


def evaluate(
    name: str,
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    times: ScheduleTimes | None = None,
) -> Any:
    (schedule,) = [x for x in make_schedules(times or ScheduleTimes()) if x.name == name]
    assert isinstance(schedule, dg.ScheduleDefinition)
    return schedule(
        dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=SUNDAY,
            resources={"door": InstallationDoor(lambda: installation)},
        )
    )


def tick(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, installation: MadeInstallation
) -> Any:
    door = InstallationDoor(lambda: installation)
    resources = {"door": door} if sensor is not sensors.backups_asked_for else {}
    return sensor(dg.build_sensor_context(instance=instance, resources=resources))


def under_way(instance: dg.DagsterInstance, partition: str) -> None:
    instance.add_run(
        dg.DagsterRun(
            job_name="backup_job",
            status=dg.DagsterRunStatus.STARTED,
            tags={ledger.PARTITION_TAG: partition},
        )
    )


def take(installation: MadeInstallation, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """The run that the schedule asks for."""
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, [DUMP])
    job = installation.definitions().resolve_job_def("backup_job")
    return job.execute_in_process(instance=instance, partition_key=DUMP, raise_on_error=False)


def proofs_asked(requests: Any) -> list[tuple[str | None, str]]:
    return [
        (each.partition_key, each.run_config["ops"][PROOF_OP]["config"]["copy_read"])
        for each in requests
    ]


# asking for them


def test_the_weekly_dump_is_named_by_the_time_it_was_due_and_waits_for_dumps_alone(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    asked = evaluate("weekly_logical_dump", instance, installation)
    full = evaluate("daily_full_backup", instance, installation)

    assert (asked.partition_key, asked.run_key) == (DUMP, DUMP)
    assert asked.tags == {keys.BACKUP_ID_TAG: DUMP, SOURCE_TAG: ROWS}
    assert full.tags[SOURCE_TAG] == FILES
    assert DUMP in instance.get_dynamic_partitions(POSTGRES_BACKUPS)


def test_a_dump_under_way_holds_up_no_base_backup_nor_the_reverse(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    under_way(instance, DUMP)

    assert isinstance(evaluate("weekly_logical_dump", instance, installation), dg.SkipReason)
    assert isinstance(evaluate("hourly_incremental_backup", instance, installation), dg.RunRequest)


def test_a_base_backup_under_way_holds_up_no_dump(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    under_way(instance, FULL)

    assert isinstance(evaluate("weekly_logical_dump", instance, installation), dg.RunRequest)
    assert isinstance(evaluate("hourly_incremental_backup", instance, installation), dg.SkipReason)


def test_dump_now_leads_to_one_dump(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    job = installation.definitions().resolve_job_def("dump_now")
    result = job.execute_in_process(instance=instance)
    (named,) = instance.get_dynamic_partitions(POSTGRES_BACKUPS)

    (request,) = tick(sensors.backups_asked_for, instance, installation).run_requests

    assert named.startswith("kb-dump-")
    assert (request.partition_key, request.run_key) == (named, f"asked-{result.run_id}")
    assert request.tags[SOURCE_TAG] == ROWS


# taking them


def test_a_dump_is_materialised_with_what_it_holds_and_no_wal(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    result = take(installation, instance)

    assert result.success
    (event,) = result.asset_materializations_for_node("postgres__backup")
    stored = installation.find_backup(BackupId.parse(DUMP))
    assert (event.tags or {})["dagster/data_version"] == stored.digest
    assert event.metadata["kind"].value == "dump"
    assert event.metadata["pg_dump"].value == "16.14"
    assert event.metadata["snapshot_lsn"].value == str(stored.manifest.wal.start)
    assert event.metadata["rows"].value == 0
    assert {"start_lsn", "stop_lsn", "parent", "chain_length"}.isdisjoint(event.metadata)
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("every_chunk_is_stored", True)


def test_a_dump_that_meets_another_is_passed_over_without_an_alert(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.dumping = BUSY

    result = take(installation, instance)

    assert result.success
    assert result.asset_materializations_for_node("postgres__backup") == []
    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == []


def test_what_is_left_of_a_first_try_passes_no_second_one_over(
    instance: dg.DagsterInstance, installation: MadeInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the run would be green, and the week without a dump."""
    installation.dumping = BUSY
    monkeypatch.setattr(dg.AssetExecutionContext, "retry_number", property(lambda _: 1))

    result = take(installation, instance)

    assert not result.success
    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == [DUMP]


def test_a_dump_that_fails_fails_the_run_with_what_the_error_knows(
    instance: dg.DagsterInstance, installation: MadeInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresUnavailable, "retryable", False)  # no waiting here
    installation.dumping = PostgresUnavailable("connect to h:5432: no answer", hint="Start it.")

    result = take(installation, instance)

    assert not result.success
    (failure,) = [each for each in result.all_events if each.is_step_failure]
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert said.metadata["hint"].value == "Start it."
    assert said.metadata["exit_code"].value == PostgresUnavailable.exit_code


# copies, pages


def test_a_dump_is_brought_to_the_copies_by_the_same_sensor_and_job(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    dump = installation.has_dump()

    asked = tick(sensors.new_backups_go_offsite, instance, installation)

    assert [each.partition_key for each in asked.run_requests] == [dump.manifest.id]
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, [dump.manifest.id])
    job = installation.definitions().resolve_job_def("offsite_copy_job")
    assert job.execute_in_process(instance=instance, partition_key=dump.manifest.id).success
    assert installation.offsite.find(layout.manifest_key(dump.manifest.backup_id))


def test_the_pages_follow_dumps_also_those_taken_elsewhere_and_those_let_go(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    full, dump = installation.has_backup(), installation.has_dump()
    store_manifest(installation.offsite, dump.manifest)
    installation.has_proof(dump, Verdict.PROVEN)

    tick(sensors.pages_follow_the_repository, instance, installation)

    known = set(instance.get_dynamic_partitions(POSTGRES_BACKUPS))
    assert known == {full.manifest.id, dump.manifest.id}
    assert ledger.shown(instance, keys.RESTORE_PROVEN) == {dump.manifest.id: True}
    shown = ledger.newest(instance, keys.BACKUP, dump.manifest.id)
    assert shown is not None
    assert shown.texts["kind"] == "dump"

    installation.forget(dump)
    tick(sensors.pages_follow_the_repository, instance, installation)

    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == [full.manifest.id]


def test_a_dump_whose_proof_failed_is_red_and_the_base_backup_beside_it_is_not(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    full, dump = installation.has_backup(), installation.has_dump()
    for each, verdict in ((full, Verdict.PROVEN), (dump, Verdict.FAILED)):
        store_manifest(installation.offsite, each.manifest)
        installation.has_proof(each, verdict)

    tick(sensors.pages_follow_the_repository, instance, installation)

    lights = {full.manifest.id: True, dump.manifest.id: False}
    assert ledger.shown(instance, keys.RESTORE_PROVEN) == lights


# proofs


@pytest.fixture
def proven_base(installation: MadeInstallation) -> MadeInstallation:
    """A base backup offsite that is proven there, and two dumps after it."""
    full = installation.has_backup()
    installation.has_offsite_copy(full)
    installation.has_proof(full, Verdict.PROVEN)
    for days in (0, 1):
        store_manifest(installation.offsite, installation.has_dump(days=days).manifest)
    return installation


def test_the_weekly_proof_is_also_of_the_newest_dump_while_it_is_not_proven(
    instance: dg.DagsterInstance, proven_base: MadeInstallation
) -> None:
    full, dump = "kb-full-20261120-020000", "kb-dump-20261121-030000"
    of_full = [(full, "offsite"), (full, "primary")]

    asked = evaluate("weekly_restore_proof", instance, proven_base)
    assert proofs_asked(asked) == [*of_full, (dump, "offsite")]
    assert dump in instance.get_dynamic_partitions(POSTGRES_BACKUPS)

    off = evaluate("weekly_restore_proof", instance, proven_base, ScheduleTimes(dump=None))
    assert proofs_asked(off) == of_full

    stored = proven_base.find_backup(BackupId.parse(dump))
    proven_base.has_proof(stored, Verdict.PROVEN)
    after = evaluate("weekly_restore_proof", instance, proven_base)
    assert proofs_asked(after) == of_full


def test_dumps_alone_are_proven_too(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    store_manifest(installation.offsite, installation.has_dump().manifest)

    asked = evaluate("weekly_restore_proof", instance, installation)

    assert proofs_asked(asked) == [("kb-dump-20261120-030000", "offsite")]


# alerts


def ended(job: str, partition: str, copy: str | None = None) -> Ended:
    config: dict[str, Any] = (
        {"ops": {PROOF_OP: {"config": {"copy_read": copy}}}} if copy is not None else {}
    )
    run = dg.DagsterRun(
        job_name=job,
        run_config=config,
        status=dg.DagsterRunStatus.SUCCESS,
        tags={ledger.PARTITION_TAG: partition},
    )
    return Ended(1, SUNDAY + timedelta(hours=1), "", run)


def mended(instance: dg.DagsterInstance, run: Ended) -> set[str]:
    return {each.key for each in notices_of(instance, run) if each.state is State.MENDED}


@pytest.mark.parametrize("copy", ["offsite", "auto", None])
def test_a_proof_of_a_dump_mends_no_proof_of_a_base_backup_nor_the_reverse(
    copy: str | None, instance: dg.DagsterInstance
) -> None:
    of_full = mended(instance, ended("verify_job", FULL, copy))
    of_dump = mended(instance, ended("verify_job", DUMP, copy))

    assert "run/verify_job" in of_full
    assert "run/verify_job/dump" in of_dump
    assert of_full.isdisjoint(of_dump)


def test_a_dump_that_succeeds_mends_no_full_backup_that_failed(
    instance: dg.DagsterInstance,
) -> None:
    assert mended(instance, ended("backup_job", DUMP)) == {"run/backup_job/dump"}
    assert run_key(ended("backup_job", FULL).run) == "run/backup_job/full"
