"""A wish for a backup leads to one run of it, queued at once; the sensor requests no other."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

# What a run that was launched bears, and how the daemon tells that a request was met already.
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster._daemon.sensor import fetch_existing_runs

from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys, sensors
from kb_dr.defs.postgres.ask_at_once import queue_at_once
from kb_dr.defs.postgres.jobs import back_up_now, backup_job
from kb_dr.defs.postgres.requests import SOURCE_TAG
from kb_dr.domain.backup_id import BackupId
from kb_dr_tests.made_installation import MadeInstallation

QUEUED = {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"}
NAME = "kb-full-20261120-020000"
LOCATION = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("kb_dr"), "__repository__")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(
        str(tmp_path / "home"), overrides={"run_coordinator": QUEUED}
    ) as made:
        made.add_dynamic_partitions(POSTGRES_BACKUPS, [NAME])
        yield made


def asking(instance: dg.DagsterInstance, tmp_path: Path, *, launched: bool = True) -> Any:
    """A step of `back_up_now`, in a run that the daemon launched."""
    code = RepositoryPythonOrigin(sys.executable, ModuleCodePointer("kb_dr.definitions", "defs"))
    run = dg.DagsterRun(
        job_name=back_up_now.name,
        status=dg.DagsterRunStatus.SUCCESS,
        tags={keys.BACKUP_ID_TAG: NAME},
        remote_job_origin=RemoteJobOrigin(LOCATION, back_up_now.name) if launched else None,
        job_code_origin=JobPythonOrigin(back_up_now.name, code),
    )
    definitions = MadeInstallation(tmp_path / "installation").definitions()
    return SimpleNamespace(
        run=instance.add_run(run),
        instance=instance,
        repository_def=definitions.get_repository_def(),
    )


def queue(context: Any) -> bool:
    return queue_at_once(
        cast(dg.OpExecutionContext, context),
        BackupId.parse(NAME),
        job=backup_job.name,
        sensor=sensors.backups_asked_for.name,
    )


def test_the_run_is_the_one_the_sensor_would_request(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    context = asking(instance, tmp_path)
    assert queue(context)

    (run,) = instance.get_runs(dg.RunsFilter(job_name=backup_job.name))
    asked = sensors.backups_asked_for(dg.build_sensor_context(instance=instance))
    assert isinstance(asked, dg.SensorResult)
    (request,) = asked.run_requests or ()
    sensor = SimpleNamespace(
        name=sensors.backups_asked_for.name,
        get_remote_origin=lambda: SimpleNamespace(repository_origin=LOCATION),
    )
    met = fetch_existing_runs(instance, cast(Any, sensor), [request])

    assert run.status is dg.DagsterRunStatus.QUEUED
    assert request.run_key == run.tags[RUN_KEY_TAG]
    assert met[run.tags[RUN_KEY_TAG]].run_id == run.run_id
    assert run.tags.items() >= request.tags.items()
    assert run.tags["dagster/partition"] == NAME
    assert {SOURCE_TAG, "dagster/max_runtime"} <= run.tags.keys()
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.job_name == backup_job.name
    planned = instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    assert [each.event_log_entry.get_dagster_event().partition for each in planned.records] == [
        NAME
    ]


def test_who_cannot_queue_leaves_it_to_the_sensor(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert not queue(asking(instance, tmp_path, launched=False))
    assert not instance.get_runs(dg.RunsFilter(job_name=backup_job.name))
