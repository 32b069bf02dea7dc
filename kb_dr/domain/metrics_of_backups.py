"""The metrics of the backups that were taken."""

from datetime import timedelta
from statistics import fmean

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.copies import PRIMARY
from kb_dr.domain.measured import WINDOWS, Measured, Taken
from kb_dr.domain.metric_values import MetricValues

_MEAN_OVER = timedelta(days=7)


def add_backups(values: MetricValues, measured: Measured) -> None:
    """Sizes, durations, and how often it went well."""
    values.add("kb_dr_backups_held", measured.held)
    for kind, taken in (measured.taken or {}).items():
        if taken:
            newest = taken[-1]
            seconds = (newest.finished - newest.started).total_seconds()
            values.add("kb_dr_backup_size_bytes", newest.stored_bytes, kind)
            values.add("kb_dr_backup_plain_size_bytes", newest.plain_bytes, kind)
            values.add("kb_dr_backup_duration_seconds", seconds, kind)
    _add_full(values, measured)
    # No status speaks of dumps: nothing is recovered to a point in time from one.
    last = measured.last_dump
    values.add("kb_dr_backup_last_timestamp_seconds", last, PRIMARY, BackupKind.DUMP)
    for kind, tries in (measured.tries or {}).items():
        for word, span in WINDOWS.items():
            since = measured.looked_at - span
            done, failed = (
                sum(1 for at in each if at >= since) for each in (tries.succeeded, tries.failed)
            )
            values.add("kb_dr_backups_succeeded", done, kind, word)
            values.add("kb_dr_backup_attempts_failed", failed, kind, word)


def _add_full(values: MetricValues, measured: Measured) -> None:
    """What requirement W3 names: of the newest full backup that nothing speaks against.

    Absent while the primary could not be looked at to the end: it may lack its WAL.
    """
    status, taken = measured.status, (measured.taken or {}).get(BackupKind.FULL, ())
    primary = next((c for c in status.copies if c.copy == PRIMARY), None) if status else None
    if primary is None or primary.problem:
        return
    bad = {each.id for each in primary.backups if not each.usable}
    newest = next((each for each in reversed(taken) if each.id not in bad), None)
    if newest is None:
        return
    values.add("backup_postgres_last_success_timestamp", newest.finished)
    values.add("backup_postgres_last_size_bytes", newest.stored_bytes)
    before = [each.stored_bytes for each in taken if _in_the_week_before(each, newest)]
    values.add("backup_postgres_avg_size_bytes_7d", fmean(before) if before else None)


def _in_the_week_before(each: Taken, newest: Taken) -> bool:
    return timedelta(0) < newest.finished - each.finished <= _MEAN_OVER
