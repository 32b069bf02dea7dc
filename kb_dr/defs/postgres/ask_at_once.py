"""A backup somebody asked for is queued by the run that named it: it waits for no sensor."""

import dagster as dg

# Not exported by Dagster: how a run is queued from within another one.
from dagster._core.remote_origin import RemoteJobOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG

from kb_dr.defs.postgres.requests import backup_request
from kb_dr.domain.backup_id import BackupId


def run_key_of(run_id: str) -> str:
    """Of the backup that this run of `back_up_now` or `dump_now` has named: one run, ever."""
    return f"asked-{run_id}"


def queue_at_once(
    context: dg.OpExecutionContext, backup: BackupId, *, job: str, sensor: str
) -> bool:
    """Queue the very run that the sensor requests for a wish: the sensor knows it by its run key,
    and requests it only where this did not come to its end.

    False: left to the sensor, since this Dagster queues nothing, or runs nothing for others.
    """
    asking, instance = context.run, context.instance
    origin, code = asking.remote_job_origin, asking.job_code_origin
    coordinator = instance.run_coordinator
    if origin is None or code is None or not isinstance(coordinator, QueuedRunCoordinator):
        return False
    definition = context.repository_def.get_job(job)
    request = backup_request(backup, run_key_of(asking.run_id)).with_resolved_tags_and_config(
        definition, dynamic_partitions_requests=(), dynamic_partitions_store=instance
    )
    made = instance.create_run_for_job(
        definition,
        run_config=request.run_config,
        status=dg.DagsterRunStatus.NOT_STARTED,
        tags={
            **definition.run_tags,
            **request.tags,
            SENSOR_NAME_TAG: sensor,
            RUN_KEY_TAG: run_key_of(asking.run_id),
        },
        remote_job_origin=RemoteJobOrigin(origin.repository_origin, job),
        job_code_origin=code._replace(job_name=job),
    )
    # A queue needs no workspace: the daemon launches what stands in it, and has its own.
    coordinator.submit_run(SubmitRunContext(made, workspace=None))  # type: ignore[arg-type]
    return True
