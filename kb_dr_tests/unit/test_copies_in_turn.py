"""Every copy is proven in its turn, and the local one is on the pages as the offsite one is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kb_dr.defs.postgres import keys, sensors
from kb_dr.defs.postgres.schedules import PROOF_OP, make_schedules
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain import layout
from kb_dr.domain.copies import copies_to_prove
from kb_dr.domain.proof import Verdict
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.operations.proofs import store_proof
from kb_dr_tests.made_copies import bodies, bring, damage, let_go
from kb_dr_tests.made_installation import MadeInstallation, made_proof
from kb_dr_tests.stored_backups import STARTED, store_segments


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    """Primary, offsite and local."""
    return MadeInstallation(tmp_path, local=True)


# proofs take turns


def test_each_round_proves_the_copy_that_counts_and_one_other() -> None:
    copies = ["primary", "offsite", "local"]
    tried: dict[str, datetime] = {}
    rounds = []
    for week in range(6):
        due = copies_to_prove(copies, tried)
        tried.update(dict.fromkeys(due, STARTED + timedelta(weeks=week)))
        rounds.append(due)

    assert rounds == [("offsite", "local"), ("offsite", "primary")] * 3
    assert copies_to_prove(["primary"], {}) == ("primary",)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


def weekly(
    instance: dg.DagsterInstance, installation: MadeInstallation, week: int
) -> dict[str, dg.RunRequest]:
    """Copy to the proof of it that a week's tick asks for."""
    schedules = {each.name: each for each in make_schedules(ScheduleTimes())}
    schedule = schedules["weekly_restore_proof"]
    assert isinstance(schedule, dg.ScheduleDefinition)
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 11, 22, 6, tzinfo=UTC) + timedelta(weeks=week),
        resources={"door": InstallationDoor(lambda: installation)},
    )
    asked = schedule(context)
    assert isinstance(asked, list)
    return {each.run_config["ops"][PROOF_OP]["config"]["copy_read"]: each for each in asked}


def test_the_weekly_proofs_read_every_copy_in_turn(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = installation.has_backup()
    for copy in installation.further_copies:
        bring(installation, copy)
    job = installation.definitions().resolve_job_def("verify_job")
    read = []
    for week in range(3):
        asked = weekly(instance, installation, week)
        read.append(list(asked))
        for request in asked.values():
            result = job.execute_in_process(
                instance=instance,
                partition_key=request.partition_key,
                run_config=dict(request.run_config),
            )
            assert result.success

    assert read == [["offsite", "local"], ["offsite", "primary"], ["offsite", "local"]]
    proofs = installation.proofs(stored.manifest.backup_id)
    assert [proof.copy for proof in proofs].count("offsite") == 3


def test_a_drill_to_a_point_in_time_is_no_turn(installation: MadeInstallation) -> None:
    stored = installation.has_backup()
    for copy in ("primary", "local"):
        installation.has_proof(stored, Verdict.NOT_PROVEN, copy=copy, minutes=len(copy))
    drill = made_proof(stored, Verdict.PROVEN, copy="local", minutes=500)
    assert drill.reach is not None
    drill = replace(drill, reach=replace(drill.reach, exact=True))
    store_proof(installation.primary, drill)

    assert installation.copies_to_prove() == ("offsite", "local")


def test_another_copy_that_is_down_does_not_keep_the_one_that_counts_from_its_proof(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.has_backup()
    bring(installation, "offsite")
    installation.local.delete(layout.MARKER)

    assert list(weekly(instance, installation, 0)) == ["offsite"]


# on the pages


def test_the_local_copy_is_asked_for_by_its_sensor(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    old, new = installation.has_backup(), installation.has_backup(days=1)
    let_go(installation, old, PurgeStep.EXPIRED)
    sensor = sensors.new_backups_go_to_the_local_copy

    asked = ask(sensor, instance, installation)
    assert isinstance(asked, dg.SensorResult)
    assert [each.partition_key for each in asked.run_requests or ()] == [new.manifest.id]

    bring(installation, "local")
    said = ask(sensor, instance, installation)
    assert isinstance(said, dg.SkipReason)
    assert "1 were let go of there" in (said.skip_message or "")


def test_without_a_local_copy_its_sensor_and_its_schedule_say_so(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    two = MadeInstallation(tmp_path / "two")
    two.has_backup()
    said = ask(sensors.new_backups_go_to_the_local_copy, instance, two)

    assert isinstance(said, dg.SkipReason)
    assert said.skip_message == "no local repository is configured"
    result = two.definitions().resolve_job_def("local_wal_job").execute_in_process()
    assert result.success
    assert result.get_asset_materialization_events() == []


def test_the_local_assets_bring_a_backup_and_wal(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = installation.has_backup()
    instance.add_dynamic_partitions("postgres_backups", [stored.manifest.id])
    definitions = installation.definitions()

    copied = definitions.resolve_job_def("local_copy_job").execute_in_process(
        instance=instance, partition_key=stored.manifest.id
    )
    store_segments(installation.primary, installation.codec, 4, 5)
    followed = definitions.resolve_job_def("local_wal_job").execute_in_process(instance=instance)

    (event,) = copied.asset_materializations_for_node("postgres__local_copy")
    assert (event.tags or {})["dagster/data_version"] == stored.digest
    assert event.metadata["brought_from"].value == "primary"
    (event,) = followed.asset_materializations_for_node("postgres__local_wal")
    assert event.metadata["copied_files"].value == 2
    assert bodies(installation, "local") == bodies(installation, "primary")


def test_a_copy_found_in_the_repository_is_shown_after_dagsters_memory_was_lost(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = installation.has_backup()
    bring(installation, "local")

    said = ask(sensors.pages_follow_the_repository, instance, installation)

    assert "local_copy" in (said.skip_message or "")
    event = instance.get_latest_materialization_event(keys.LOCAL_COPY)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.partition == stored.manifest.id


def ask(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, installation: MadeInstallation
) -> Any:
    """What a sensor answers at one tick."""
    door = InstallationDoor(lambda: installation)
    return sensor(dg.build_sensor_context(instance=instance, resources={"door": door}))


def test_copies_are_mended_from_the_pages_and_what_is_left_fails_the_run(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = installation.has_backup()
    for copy in installation.further_copies:
        bring(installation, copy)
    good = bodies(installation, "local")
    job = installation.definitions().resolve_job_def("repair_copies")
    damage(installation.local, "base.tar.zst.age.00001", "flip")

    def mend(**config: str) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"ops": {"mend_copies": {"config": config}}},
        )

    assert mend(copy_to_mend="local", backup_id=stored.manifest.id).success
    assert bodies(installation, "local") == good

    for memory in installation.memory.values():
        damage(memory, "base.tar.zst.age.00001", "flip")
    assert not mend().success
    assert not mend(backup_id="no id").success
