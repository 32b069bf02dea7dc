"""What checks said, read back from Dagster: of one run, and of now."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

# Not exported by Dagster: the newest result of a check, whoever came to it, is read by these.
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from kb_dr.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One result of one check."""

    check: dg.AssetCheckKey
    partition: str | None
    run_id: str
    at: datetime
    passed: bool
    severity: Severity
    """How bad it is where it did not pass."""
    seen: str
    texts: Mapping[str, str]
    """Its metadata that is text."""
    numbers: Mapping[str, float]
    """Its metadata that is a number."""
    blocking: bool = False

    @property
    def subjects(self) -> tuple[str, ...]:
        """What of it is broken, where it says so."""
        try:
            found = json.loads(self.texts.get("subjects", "[]"))
        except ValueError:
            return ()
        return tuple(map(str, found)) if isinstance(found, list) else ()


def evaluated(entry: dg.EventLogEntry) -> Evaluated | None:
    """The result in an event; None for an event of another kind."""
    if entry.dagster_event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    event = entry.get_dagster_event()
    found = event.asset_check_evaluation_data
    metadata = found.metadata
    return Evaluated(
        check=found.asset_check_key,
        partition=found.partition,
        run_id=entry.run_id,
        at=datetime.fromtimestamp(entry.timestamp, UTC),
        passed=found.passed,
        severity=_severity(found),
        seen=found.description or "",
        texts={
            name: value.value
            for name, value in metadata.items()
            if isinstance(value, dg.TextMetadataValue) and value.value is not None
        },
        numbers={
            name: float(value.value)
            for name, value in metadata.items()
            if isinstance(value, dg.FloatMetadataValue | dg.IntMetadataValue)
            and value.value is not None
        },
        blocking=bool(found.blocking),
    )


def _severity(found: dg.AssetCheckEvaluation) -> Severity:
    """Dagster knows two; what nobody has to act on says so in its metadata."""
    if found.severity is dg.AssetCheckSeverity.ERROR:
        return Severity.CRITICAL
    said = found.metadata.get("severity")
    is_info = isinstance(said, dg.TextMetadataValue) and said.value == Severity.INFO
    return Severity.INFO if is_info else Severity.WARNING


def newest_of(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, partition: str | None = None
) -> Evaluated | None:
    """What a check, or a partition's check, said last; None when it never said anything."""
    only = None if partition is None else PartitionKeyFilter(key=partition)
    records = instance.event_log_storage.get_asset_check_execution_history(
        check, limit=1, status=COMPLETED, partition_filter=only
    )
    return _of(records[0]) if records else None


def newest_of_each(
    instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey]
) -> Iterator[Evaluated]:
    """What each of these checks said last, in one question where no run of it is under way.

    A check that never said anything is left out.
    """
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    for check, record in newest.items():
        found = _of(record) if record.status in COMPLETED else newest_of(instance, check)
        if found is not None:
            yield found


def _of(record: AssetCheckExecutionRecord) -> Evaluated | None:
    return None if record.event is None else evaluated(record.event)
