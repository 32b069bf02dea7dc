"""What asks for runs asks for the right ones, once, and not at all when it could not tell."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kb_dr.defs import reaper
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys, sensors
from kb_dr.defs.postgres.schedules import PROOF_OP, make_schedules
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain import layout
from kb_dr.domain.proof import Verdict
from kb_dr_tests.made_installation import MadeInstallation

SUNDAY = datetime(2026, 11, 22, 6, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def kept_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that can be referred to from elsewhere, as schedules require."""
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


def evaluate(
    name: str, instance: dg.DagsterInstance, installation: MadeInstallation, at: datetime
) -> Any:
    """What a schedule answers at one tick."""
    (schedule,) = [each for each in make_schedules(ScheduleTimes()) if each.name == name]
    assert isinstance(schedule, dg.ScheduleDefinition)
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        resources={"door": InstallationDoor(lambda: installation)},
    )
    return schedule(context)


def tick(
    sensor: dg.SensorDefinition,
    instance: dg.DagsterInstance,
    installation: MadeInstallation | None = None,
    *,
    cursor: str | None = None,
) -> tuple[Any, str | None]:
    """What a sensor answers at one tick, and the cursor it leaves."""
    resources = {} if installation is None else {"door": InstallationDoor(lambda: installation)}
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
    return sensor(context), context.cursor


def proofs_asked(requests: list[dg.RunRequest]) -> list[tuple[str | None, str]]:
    """Backup and copy of each proof a tick asked for."""
    assert len({each.run_key for each in requests}) == len(requests)
    return [
        (each.partition_key, each.run_config["ops"][PROOF_OP]["config"]["copy_read"])
        for each in requests
    ]


def a_run(
    instance: dg.DagsterInstance,
    job: str,
    status: dg.DagsterRunStatus,
    tags: dict[str, str] | None = None,
) -> str:
    """A run as Dagster would have it on record."""
    run = dg.DagsterRun(job_name=job, status=status, tags=tags or {})
    return instance.add_run(run).run_id


# schedules


def test_the_daily_backup_is_named_by_the_time_it_was_due(
    kept_instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    asked = evaluate(
        "daily_full_backup", kept_instance, installation, datetime(2026, 11, 21, 2, tzinfo=UTC)
    )

    assert asked.partition_key == "kb-full-20261121-020000"
    assert asked.run_key == asked.partition_key
    assert kept_instance.get_dynamic_partitions(POSTGRES_BACKUPS) == ["kb-full-20261121-020000"]


def test_the_hourly_backup_is_an_incremental_one_named_by_the_time_it_was_due(
    kept_instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    due = datetime(2026, 11, 21, 3, 30, tzinfo=UTC)

    asked = evaluate("hourly_incremental_backup", kept_instance, installation, due)

    assert asked.partition_key == "kb-incr-20261121-033000"
    assert kept_instance.get_dynamic_partitions(POSTGRES_BACKUPS) == ["kb-incr-20261121-033000"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_the_hourly_backup_is_left_out_while_a_backup_is_under_way(
    status: dg.DagsterRunStatus, kept_instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    a_run(kept_instance, "backup_job", status)

    said = evaluate("hourly_incremental_backup", kept_instance, installation, SUNDAY)

    assert isinstance(said, dg.SkipReason)
    assert kept_instance.get_dynamic_partitions(POSTGRES_BACKUPS) == []


def test_the_weekly_proof_is_of_the_newest_backup_that_is_offsite(
    kept_instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    for days in (0, 1):
        installation.has_offsite_copy(installation.has_backup(days=days))
    installation.has_backup(days=2)

    asked = evaluate("weekly_restore_proof", kept_instance, installation, SUNDAY)

    assert proofs_asked(asked) == [
        ("kb-full-20261121-020000", "offsite"),
        ("kb-full-20261122-020000", "primary"),
    ]
    known = set(kept_instance.get_dynamic_partitions(POSTGRES_BACKUPS))
    assert {each.partition_key for each in asked} == known


def test_the_weekly_proof_is_also_of_what_retention_waits_for(
    kept_instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    """Else the monthly tier keeps everything: its backups are seldom the newest on a Sunday."""
    # The middle one is its month's; the last one, of the same month, is only the newest of all.
    for days, since_the_last in ((0, 0), (420, 420), (421, 1)):
        installation.clock.sleep(timedelta(days=since_the_last).total_seconds())
        stored = installation.has_backup(days=days)
        installation.has_offsite_copy(stored)
    installation.clock.sleep(3 * 3600)
    installation.has_proof(stored, Verdict.PROVEN)

    asked = evaluate("weekly_restore_proof", kept_instance, installation, SUNDAY)

    assert proofs_asked(asked) == [
        (stored.manifest.id, "offsite"),
        (stored.manifest.id, "primary"),
        ("kb-full-20280114-020000", "offsite"),
    ]


def test_without_an_offsite_backup_the_weekly_proof_reads_what_there_is(
    kept_instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    assert isinstance(
        evaluate("weekly_restore_proof", kept_instance, installation, SUNDAY), dg.SkipReason
    )

    backup = installation.has_backup().manifest.id

    asked = evaluate("weekly_restore_proof", kept_instance, installation, SUNDAY)
    assert proofs_asked(asked) == [(backup, "primary")]


def test_wal_waits_for_its_previous_run(
    kept_instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    assert isinstance(
        evaluate("wal_every_minute", kept_instance, installation, SUNDAY), dg.RunRequest
    )

    a_run(kept_instance, "wal_job", dg.DagsterRunStatus.STARTED)

    assert isinstance(
        evaluate("wal_every_minute", kept_instance, installation, SUNDAY), dg.SkipReason
    )


# back up now


def test_back_up_now_leads_to_one_backup(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    job = installation.definitions().resolve_job_def("back_up_now")
    result = job.execute_in_process(instance=instance)
    (named,) = instance.get_dynamic_partitions(POSTGRES_BACKUPS)

    first, _ = tick(sensors.backups_asked_for, instance)
    again, _ = tick(sensors.backups_asked_for, instance)

    (request,) = first.run_requests
    assert request.partition_key == named
    assert request.tags[keys.BACKUP_ID_TAG] == named
    assert request.run_key == f"asked-{result.run_id}"
    assert [each.run_key for each in again.run_requests] == [request.run_key]


def test_two_wishes_within_a_second_are_two_backups(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    job = installation.definitions().resolve_job_def("back_up_now")
    for _ in range(2):
        job.execute_in_process(instance=instance)

    asked, _ = tick(sensors.backups_asked_for, instance)

    assert len({request.partition_key for request in asked.run_requests}) == 2


# copying offsite


def test_each_backup_that_is_not_offsite_is_copied(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.has_offsite_copy(installation.has_backup())
    new = installation.has_backup(days=1)

    asked, _ = tick(sensors.new_backups_go_offsite, instance, installation)

    assert [request.partition_key for request in asked.run_requests] == [new.manifest.id]
    (added,) = asked.dynamic_partitions_requests
    assert added.partition_keys == [new.manifest.id]


def test_a_copy_under_way_is_not_asked_for_again(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    new = installation.has_backup()
    a_run(
        instance,
        "offsite_copy_job",
        dg.DagsterRunStatus.STARTED,
        {"dagster/partition": new.manifest.id},
    )

    said, _ = tick(sensors.new_backups_go_offsite, instance, installation)

    assert isinstance(said, dg.SkipReason)


def test_a_copy_that_failed_is_tried_again_later_and_not_at_once(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.has_backup()
    key = {}
    for name, wait in (("first", 0), ("soon", 1), ("later", 31)):
        installation.clock.sleep(timedelta(minutes=wait).total_seconds())
        asked, _ = tick(sensors.new_backups_go_offsite, instance, installation)
        key[name] = asked.run_requests[0].run_key

    assert key["first"] == key["soon"] != key["later"]


def test_nothing_is_copied_while_a_repository_cannot_be_read(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.has_backup()
    installation.offsite.delete(layout.MARKER)

    said, _ = tick(sensors.new_backups_go_offsite, instance, installation)

    assert isinstance(said, dg.SkipReason)
    assert (said.skip_message or "").startswith("could not tell")


# the reaper


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reaper's present is an hour after everything these tests do."""
    ahead = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(reaper, "now", lambda: ahead)


def started_run(instance: dg.DagsterInstance) -> str:
    """A run whose process said something, and never its end."""
    run_id = a_run(instance, "backup_job", dg.DagsterRunStatus.STARTED)
    sign_of_life(instance, run_id)
    return run_id


def sign_of_life(instance: dg.DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_engine_event("still at work", dagster_run=run)


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.usefixtures("later")
def test_a_run_that_stays_silent_is_failed_at_the_second_look(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    run_id = started_run(instance)

    _, cursor = tick(reaper.reaper, instance, installation)
    assert status(instance, run_id) is dg.DagsterRunStatus.STARTED
    tick(reaper.reaper, instance, installation, cursor=cursor)

    assert status(instance, run_id) is dg.DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("later")
def test_a_run_that_speaks_between_two_looks_lives(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    run_id = started_run(instance)

    _, cursor = tick(reaper.reaper, instance, installation)
    sign_of_life(instance, run_id)
    tick(reaper.reaper, instance, installation, cursor=cursor)

    assert status(instance, run_id) is dg.DagsterRunStatus.STARTED


def test_a_run_that_spoke_just_now_is_left_alone(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    run_id = started_run(instance)
    cursor: str | None = None
    for _ in range(3):
        _, cursor = tick(reaper.reaper, instance, installation, cursor=cursor)

    assert status(instance, run_id) is dg.DagsterRunStatus.STARTED
    assert installation.reaped == 3
