"""The metrics of a status: what each copy allows."""

from collections.abc import Sequence
from datetime import datetime

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.copies import PRIMARY
from kb_dr.domain.metric_values import MetricValues
from kb_dr.domain.proof import Standing
from kb_dr.domain.status import BackupStatus, CopyStatus, Status


def add_copies(values: MetricValues, status: Status) -> None:
    """What each copy allows; of one that could not be looked at only that."""
    for copy in status.copies:
        values.add("kb_dr_copy_readable", not copy.problem, copy.copy)
        if not copy.problem:
            _add_copy(values, copy)
            values.add("kb_dr_copy_lag_seconds", _lag(copy, status), copy.copy)
    for rpo in status.rpo:
        values.add("kb_dr_rpo_seconds", rpo.seconds, rpo.copy)
    for told in status.forecasts:
        values.add("kb_dr_rto_forecast_seconds", told.forecast.seconds, told.copy)
        if told.forecast.seconds is not None:
            for phase in told.forecast.phases:
                name = "kb_dr_rto_forecast_phase_seconds"
                values.add(name, phase.seconds, told.copy, phase.name)


def _add_copy(values: MetricValues, copy: CopyStatus) -> None:
    values.add("kb_dr_copy_unreadable_records", len(copy.unreadable), copy.copy)
    for standing in Standing:
        count = sum(1 for each in copy.backups if each.standing is standing)
        values.add("kb_dr_backups_looked_at", count, copy.copy, standing)
    for kind, finished in _newest(copy.backups).items():
        values.add("kb_dr_backup_last_timestamp_seconds", finished, copy.copy, kind)
    if copy.windows:
        values.add("kb_dr_copy_window_gaps", len(copy.windows) - 1, copy.copy)
    window = copy.tip_window
    if window is not None:
        values.add("kb_dr_recoverable_from_timestamp_seconds", window.begins_at, copy.copy)
        if window.end is not None:
            values.add("kb_dr_recoverable_to_timestamp_seconds", window.end.at, copy.copy)
    proof = copy.newest_proof
    if proof is not None:
        values.add("kb_dr_proof_last_timestamp_seconds", proof.proven_at, copy.copy)
        values.add("kb_dr_rto_measured_seconds", proof.rto_seconds, copy.copy)
        phases: dict[str, float] = {}
        for phase in proof.phases:
            phases[phase.name] = phases.get(phase.name, 0.0) + phase.seconds
        for name, seconds in phases.items():
            values.add("kb_dr_rto_measured_phase_seconds", seconds, copy.copy, name)


def _newest(backups: Sequence[BackupStatus]) -> dict[str, datetime]:
    """Kind to the end of the newest that nothing speaks against."""
    found: dict[str, datetime] = {}
    for each in backups:
        if each.usable:
            kind = BackupId.parse(each.id).kind
            found[kind] = max(each.finished, found.get(kind, each.finished))
    return found


def _lag(copy: CopyStatus, status: Status) -> float | None:
    """Backups are compared by their end: a copy may keep fewer of the old ones."""
    primary = next((each for each in status.copies if each.copy == PRIMARY), None)
    if primary is None or primary.problem or copy.copy == PRIMARY:
        return None
    newest = copy.newest_backup
    waiting = [
        each.finished
        for each in primary.backups
        if newest is None or each.finished > newest.finished
    ]
    return (status.now - min(waiting)).total_seconds() if waiting else 0.0
