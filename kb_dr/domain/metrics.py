"""The metrics of one look."""

from datetime import datetime

from kb_dr.domain.measured import Measured
from kb_dr.domain.metric import Metric
from kb_dr.domain.metric_values import MetricValues
from kb_dr.domain.metrics_of_backups import add_backups
from kb_dr.domain.metrics_of_copies import add_copies
from kb_dr.domain.metrics_of_proofs import add_proofs
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.status import Status
from kb_dr.domain.watched import Watched


def metrics_of(measured: Measured) -> tuple[Metric, ...]:
    """Every metric that can be told, in the order of METRICS; one that cannot is absent."""
    values = MetricValues(measured.service)
    _add_ourselves(values, measured)
    for name, seconds in measured.limits.items():
        values.add("kb_dr_objective_limit_seconds", seconds, name)
    if measured.status is not None:
        _add_answer(values, measured.status)
        add_copies(values, measured.status)
    for each in measured.watched:
        _add_check(values, each)
    for place, space in measured.spaces.items():
        values.add("kb_dr_disk_used_ratio", space.used_percent / 100, place)
        values.add("kb_dr_disk_free_bytes", space.free_bytes, place)
    add_backups(values, measured)
    add_proofs(values, measured)
    _add_source(values, measured)
    return values.in_order()


def metrics_without_look(
    service: str, version: str, python: str, last_look: datetime | None
) -> tuple[Metric, ...]:
    """What an exporter can say while no look comes to its end: that it runs, and since when it
    knows nothing. None of the values of then: they would be taken for those of now.
    """
    values = MetricValues(service)
    values.add("kb_dr_build_info", 1, version, python)
    values.add("kb_dr_last_look_timestamp_seconds", last_look)
    return values.in_order()


def _add_ourselves(values: MetricValues, measured: Measured) -> None:
    values.add("kb_dr_build_info", 1, measured.version, measured.python)
    values.add("kb_dr_last_look_timestamp_seconds", measured.looked_at)
    values.add("kb_dr_look_duration_seconds", measured.seconds)
    values.add("kb_dr_watch_last_success_timestamp_seconds", measured.last_watch)
    if measured.open_alerts is not None:
        for severity in Severity:
            values.add("kb_dr_alerts_open", measured.open_alerts.get(severity, 0), severity)


def _add_answer(values: MetricValues, status: Status) -> None:
    # A copy that could not be looked at to the end may allow what the others do not.
    unknown = any(
        copy.problem or any(window.problem for window in copy.windows) for copy in status.copies
    )
    recoverable = None if unknown and not status.recoverable else status.recoverable
    values.add("kb_dr_recoverable", recoverable)
    values.add("kb_dr_objectives_hold", status.holds)
    for each in status.objectives:
        _add_outcome(values, "kb_dr_objective_holds", each.outcome, each.subject)
        unknown = each.outcome is Outcome.COULD_NOT_RUN
        values.add("kb_dr_objective_unknown", unknown, each.subject)


def _add_check(values: MetricValues, each: Watched) -> None:
    _add_outcome(values, "kb_dr_check", each.outcome, each.name, each.severity)
    unknown = each.outcome is Outcome.COULD_NOT_RUN
    values.add("kb_dr_check_unknown", unknown, each.name, each.severity)


def _add_outcome(values: MetricValues, name: str, outcome: Outcome, *labels: str) -> None:
    told = {Outcome.PASSED: True, Outcome.FAILED: False}
    values.add(name, told.get(outcome), *labels)


def _add_source(values: MetricValues, measured: Measured) -> None:
    source, archiver = measured.source, measured.archiver
    values.add("kb_dr_source_up", source is not None)
    if source is not None:
        if (asked := measured.source_asked_at) is not None:
            offset = (source.now - asked).total_seconds()
            values.add("kb_dr_source_clock_offset_seconds", offset)
        values.add("kb_dr_wal_unarchived_segments", source.waiting_segments)
        if source.slot is not None:
            values.add("kb_dr_slot_active", source.slot.active, source.slot.name)
            values.add("kb_dr_slot_lag_bytes", source.slot.lag_bytes, source.slot.name)
    if archiver is not None and archiver.mode != "off":
        failing = archiver.failed_count if archiver.failing else 0
        values.add("backup_wal_archive_failures", failing)
        values.add("kb_dr_wal_archived_total", archiver.archived_count)
        values.add("kb_dr_wal_archive_failures_total", archiver.failed_count)
        values.add("kb_dr_wal_last_archived_timestamp_seconds", archiver.last_archived_at)
