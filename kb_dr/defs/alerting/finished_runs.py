"""Runs that came to an end, in the order Dagster wrote it down. None is left out, none read twice.

PostgreSQL lets ids of events be seen out of order: one smaller than the newest one read may appear
later. So the last OVERLAP before it are looked at again, and those known are passed over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from kb_dr.defs.alerting.place import Place

OVERLAP = 50
PAGE = 500

ENDS = ("RUN_FAILURE", "RUN_CANCELED", "RUN_SUCCESS")
"""Types of events, those that cannot wait first."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one run."""

    storage_id: int
    at: datetime
    message: str
    """What the event says."""
    run: dg.DagsterRun


def unread_ends(
    instance: dg.DagsterInstance, place: Place, event_type: str
) -> Iterator[Sequence[dg.EventLogRecord]]:
    """Pages of events of this type that were not read yet, each in the order of ids."""
    last, seen = place.read.get(event_type, 0), set(place.seen.get(event_type, ()))
    kind: Any = dg.DagsterEventType[event_type]
    before = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(kind, before_storage_id=last + 1), limit=OVERLAP
    ).records
    late = [each for each in reversed(before) if each.storage_id not in seen]
    if late:
        yield late
    while True:
        page = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(kind, after_storage_id=last), limit=PAGE, ascending=True
        ).records
        unread = [each for each in page if each.storage_id not in seen]
        if unread:
            yield unread
        if len(page) < PAGE:
            return
        last = page[-1].storage_id


def with_their_runs(
    instance: dg.DagsterInstance, records: Sequence[dg.EventLogRecord]
) -> list[Ended]:
    """The same with the run of each, in one question. A run that was deleted is left out."""
    if not records:
        return []
    wanted = dg.RunsFilter(run_ids=[each.run_id for each in records])
    runs = {each.run_id: each for each in instance.get_runs(wanted)}
    return [
        Ended(
            storage_id=each.storage_id,
            at=datetime.fromtimestamp(each.timestamp, UTC),
            message=each.event_log_entry.user_message or "",
            run=runs[each.run_id],
        )
        for each in records
        if each.run_id in runs
    ]


def newest_ends(instance: dg.DagsterInstance, event_type: str) -> tuple[int, ...]:
    """Ids of the newest events of this type, the newest first: where a first start begins."""
    found = instance.fetch_run_status_changes(dg.DagsterEventType[event_type], limit=OVERLAP)
    return tuple(each.storage_id for each in found.records)


def remembered(ids: set[int]) -> tuple[int, ...]:
    """What has to be kept of ids that were read, to know the overlap again."""
    return tuple(sorted(ids)[-4 * OVERLAP :])
