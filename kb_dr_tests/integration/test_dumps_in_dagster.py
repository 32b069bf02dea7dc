"""A dump from the button to its proof, through the real definitions and a real server."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from kb_dr import wiring
from kb_dr.definitions import build_definitions
from kb_dr.defs import ledger
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys, sensors
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import ConfigurationError
from kb_dr.installation import Installation
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr_tests.dumped_service import DATABASE, DumpedService


@pytest.fixture
def service(dumped_service: DumpedService, tmp_path: Path) -> DumpedService:
    """Repositories of its own, with one dump in each."""
    return dumped_service.copied(tmp_path)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


def wanted(installation: Installation) -> str:
    return str(installation.new_backup_id(BackupKind.DUMP))


def run(
    installation: Installation,
    instance: dg.DagsterInstance,
    job: str,
    partition: str | None = None,
) -> dg.ExecuteInProcessResult:
    if partition is not None:
        instance.add_dynamic_partitions(POSTGRES_BACKUPS, [partition])
    definitions = build_definitions(InstallationDoor(lambda: installation), ScheduleTimes())
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition, raise_on_error=False
    )


def dumps(installation: Installation, copy: str = "primary") -> set[str]:
    found = installation.catalog(copy, kinds=ALL_KINDS)
    return {installation.id_of(each) for each in found}


def test_a_dump_is_taken_beside_a_base_backup_brought_to_the_other_copy_and_proven_there(
    service: DumpedService, instance: dg.DagsterInstance
) -> None:
    installation = service.opened()
    assert run(installation, instance, "dump_now").success
    resources = {"door": InstallationDoor(lambda: installation)}
    context = dg.build_sensor_context(instance=instance)
    asked = sensors.backups_asked_for(context)
    assert isinstance(asked, dg.SensorResult)
    ((dump, job),) = [(each.partition_key, each.job_name) for each in asked.run_requests or ()]
    assert (job or "backup_job") == "backup_job"

    with wiring.source(installation.settings).exclusive():
        taken = run(installation, instance, "backup_job", dump)

    assert taken.success
    (event,) = taken.asset_materializations_for_node("postgres__backup")
    ((rows,),) = service.cluster.query("select count(*) from knowledge_entries", database=DATABASE)
    assert f"| public.knowledge_entries | {rows} |" in str(event.metadata["tables"].value)
    assert event.metadata["kind"].value == "dump"
    assert [each.passed for each in taken.get_asset_check_evaluations()] == [True]

    context = dg.build_sensor_context(instance=instance, resources=resources)
    lacking = sensors.new_backups_go_offsite(context)
    assert isinstance(lacking, dg.SensorResult)
    assert [each.partition_key for each in lacking.run_requests or ()] == [dump]
    assert run(installation, instance, "offsite_copy_job", dump).success
    assert dump in dumps(installation, "offsite")

    proven = run(installation, instance, "verify_job", dump)
    assert proven.success
    (event,) = proven.asset_materializations_for_node("postgres__restore_proof")
    assert event.metadata["verdict"].value == "PROVEN"
    assert str(event.metadata["copy_read"].value).startswith("offsite")
    assert "nothing replayed" in str(event.metadata["reached_lsn"].value)
    assert "the WAL it replayed" not in str(event.metadata["lineage"].value)
    assert ledger.shown(instance, keys.RESTORE_PROVEN) == {dump: True}


def test_after_dagsters_storage_was_lost_dumps_are_on_the_pages_again(
    service: DumpedService, instance: dg.DagsterInstance
) -> None:
    installation = service.opened()
    resources = {"door": InstallationDoor(lambda: installation)}

    sensors.pages_follow_the_repository(
        dg.build_sensor_context(instance=instance, resources=resources)
    )

    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == [service.backup_id]
    shown = ledger.newest(instance, keys.BACKUP, service.backup_id)
    assert shown is not None
    assert shown.data_version == service.stored.digest
    assert ledger.newest(instance, keys.OFFSITE_COPY, service.backup_id) is not None
    assert ledger.shown(instance, keys.RESTORE_PROVEN) == {}, "nobody tried"


def test_a_dump_beside_another_is_passed_over_and_leaves_nothing(
    service: DumpedService, instance: dg.DagsterInstance
) -> None:
    installation = service.opened()
    second = wanted(installation)

    with wiring.dump_source(installation.settings).exclusive():
        result = run(installation, instance, "backup_job", second)

    assert result.success
    assert result.asset_materializations_for_node("postgres__backup") == []
    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == []
    assert dumps(installation) == {service.backup_id}
    assert not list(installation.repository("primary").list(layout.FAILURES))


def test_a_dump_that_fails_is_red_with_its_hint_and_leaves_a_record(
    service: DumpedService, instance: dg.DagsterInstance
) -> None:
    installation = service.opened(KB_DR_CRITICAL_TABLES="public.dropped_long_ago")
    failed = wanted(installation)

    result = run(installation, instance, "backup_job", failed)

    assert not result.success
    (failure,) = [each for each in result.all_events if each.is_step_failure][:1]
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert "dropped_long_ago" in (said.description or "")
    assert said.metadata["exit_code"].value == ConfigurationError.exit_code
    records = installation.repository("primary").list(
        layout.failures_prefix(BackupId.parse(failed))
    )
    assert len(list(records)) == 1
    assert dumps(installation) == {service.backup_id}
