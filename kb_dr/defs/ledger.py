"""What Dagster believes at present, and how it is told otherwise.

Everything that leans on the preview interface of partitioned checks stands in this file.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

# The one name Dagster does not export: an evaluation reported from outside a run has to say
# which materialisation it speaks of, or the page shows it for whatever is newest.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

# Nor this one: it alone knows which database it is.
from dagster._core.storage.runs import SqlRunStorage

from kb_dr.defs.metadata import Metadata

DATA_VERSION_TAG = "dagster/data_version"
PARTITION_TAG = "dagster/partition"
STATE_TAG = "kb_dr/state"
"""On an observation: which state of the repositories it tells of."""

SYNC = "read_from_the_repository"
"""What the pages name as the job of results that no job of ours came to."""

UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The newest materialisation of one partition."""

    storage_id: int
    run_id: str
    timestamp: float
    data_version: str | None
    texts: dict[str, str]
    """Its metadata that is text."""


def newest(instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str) -> Recorded | None:
    """The newest materialisation of one partition; None when there was none."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[partition]), limit=1
    ).records
    if not records:
        return None
    event = records[0].asset_materialization
    if event is None:
        return None
    return Recorded(
        storage_id=records[0].storage_id,
        run_id=records[0].run_id,
        timestamp=records[0].timestamp,
        data_version=(event.tags or {}).get(DATA_VERSION_TAG),
        texts={
            name: value.value
            for name, value in event.metadata.items()
            if isinstance(value, dg.TextMetadataValue) and value.value is not None
        },
    )


def newest_ids(
    instance: dg.DagsterInstance, asset: dg.AssetKey, *, observations: bool = False
) -> Mapping[str, int]:
    """Partition to the number of its newest materialisation, or observation: one query for all."""
    kind = (
        dg.DagsterEventType.ASSET_OBSERVATION
        if observations
        else dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    return instance.event_log_storage.get_latest_storage_id_by_partition(asset, kind)


def storage_of(instance: dg.DagsterInstance) -> str:
    """What tells this Dagster's database from any other, also from one made anew in its place.

    Never the same twice for one that does not say.
    """
    runs = instance.run_storage
    return str(runs.get_run_storage_id() if isinstance(runs, SqlRunStorage) else uuid.uuid4())


def is_observed(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str, state: str
) -> bool:
    """Whether the page shows an observation of this very state, of the newest materialisation."""
    records = instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[partition]), limit=1
    ).records
    made = newest(instance, asset, partition)
    if not records or made is None or records[0].storage_id < made.storage_id:
        return False
    event = records[0].event_log_entry.dagster_event
    if event is None or event.event_type is not dg.DagsterEventType.ASSET_OBSERVATION:
        return False
    return event.asset_observation_data.asset_observation.tags.get(STATE_TAG) == state


def record_observation(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    partition: str,
    *,
    state: str,
    metadata: Metadata,
) -> None:
    """Say more of what a materialisation speaks of: the page shows both. ``state`` names it."""
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=asset, partition=partition, metadata=metadata, tags={STATE_TAG: state}
        )
    )


def shown(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dict[str, bool]:
    """Partition to what the page shows for it now: True green, False red.

    Partitions whose check speaks of an older materialisation are left out: the page shows them
    as not evaluated.
    """
    return {
        partition: light
        for partition, light in lights(instance, check).items()
        if light is not None
    }


def lights(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dict[str, bool | None]:
    """The same, and None for a partition whose check a run is about to carry out, or never did."""
    found: dict[str, bool | None] = {}
    for info in instance.event_log_storage.get_asset_check_partition_info([check]):
        current = (
            info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
        )
        if info.partition_key is None:
            continue
        status = info.latest_execution_status.value
        if status not in ("SUCCEEDED", "FAILED"):
            found[info.partition_key] = None
        elif current:
            found[info.partition_key] = status == "SUCCEEDED"
    return found


def record_materialisation(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    partition: str,
    *,
    data_version: str,
    metadata: Metadata,
) -> None:
    """Say that something exists which no run of this Dagster made."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            asset_key=asset,
            partition=partition,
            metadata=metadata,
            tags={DATA_VERSION_TAG: data_version},
            description="Found in the repository",
        )
    )


def record_check(
    instance: dg.DagsterInstance,
    check: dg.AssetCheckKey,
    partition: str,
    *,
    run_id: str | None,
    passed: bool,
    description: str,
    metadata: Metadata,
) -> None:
    """Show a check's result on exactly the newest materialisation of its partition.

    ``run_id`` is the run that says so. None adds one, ended already: Dagster keeps one result of
    a partition's check for each run, so a second one without a run would be refused.
    """
    at = newest(instance, check.asset_key, partition)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=passed,
        partition=partition,
        description=description,
        metadata=metadata,
        target_materialization_data=(
            Target(storage_id=at.storage_id, run_id=at.run_id, timestamp=at.timestamp)
            if at
            else None
        ),
    )
    instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name=SYNC,
            event_specific_data=evaluation,
        ),
        run_id=run_id or _ended_run(instance, partition),
    )


def _ended_run(instance: dg.DagsterInstance, partition: str) -> str:
    made = instance.add_run(
        dg.DagsterRun(
            job_name=SYNC,
            run_id=str(uuid.uuid4()),
            status=dg.DagsterRunStatus.SUCCESS,
            tags={PARTITION_TAG: partition},
        )
    )
    return made.run_id


def partitions_under_way(instance: dg.DagsterInstance, jobs: Iterable[str] = ()) -> set[str]:
    """Partitions that a run is queued or running for, of these jobs or of any."""
    wanted = set(jobs)
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNDER_WAY)))
    return {
        run.tags[PARTITION_TAG]
        for run in runs
        if PARTITION_TAG in run.tags and (not wanted or run.job_name in wanted)
    }


def runs_under_way(instance: dg.DagsterInstance, job: str) -> Sequence[dg.DagsterRun]:
    """The runs of this job that are queued or running."""
    return instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNDER_WAY)))


def is_under_way(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run of this job is queued or running."""
    return bool(instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNDER_WAY)), limit=1))


def succeeded_since(instance: dg.DagsterInstance, job: str, since: datetime) -> bool:
    """Whether the newest run of this job ended well, and was asked for at ``since`` or later."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    return bool(records) and (
        records[0].dagster_run.status is dg.DagsterRunStatus.SUCCESS
        and records[0].create_timestamp >= since
    )


def last_sign_of_life(instance: dg.DagsterInstance, run_id: str) -> datetime | None:
    """When a run last wrote an event; None when it never did."""
    records = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    if not records:
        return None
    return datetime.fromtimestamp(records[0].timestamp).astimezone()
