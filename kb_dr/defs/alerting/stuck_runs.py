"""Runs that do not start, and runs that should have ended."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.alerting.conditions import Condition
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity

WAITS_FOR = timedelta(hours=1)
"""So long a run may wait for its start."""
SLACK = timedelta(minutes=10)
"""So long after its time Dagster may take to end a run."""
LONGEST_SECONDS = 86400.0
"""Of a run whose job names no time: what dagster.yaml says."""


def look_for_stuck_runs(instance: dg.DagsterInstance, now: datetime) -> Iterator[Condition]:
    """One condition for each job with a run that is stuck; the oldest one is named."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=list(ledger.UNDER_WAY)), ascending=True
    )
    told: set[str] = set()
    for record in records:
        run = record.dagster_run
        said = _stuck(record, now)
        if said is None or run.job_name in told:
            continue
        told.add(run.job_name)
        key = f"run/{run.job_name}/stuck"
        notice = Notice(
            id=f"stuck/{run.run_id}",
            key=key,
            kind="run_is_stuck",
            state=State.BROKEN,
            severity=Severity.WARNING,
            at=now,
            seen=f"{run.job_name}: {said}",
            run_id=run.run_id,
            facts=(("job", run.job_name), ("state", run.status.value)),
        )
        yield Condition(key, notice, lasting=True)


def is_stuck_key(key: str) -> bool:
    """Whether it is a condition of this page."""
    return key.startswith("run/") and key.endswith("/stuck")


def _stuck(record: dg.RunRecord, now: datetime) -> str | None:
    run = record.dagster_run
    if run.status is dg.DagsterRunStatus.STARTED:
        try:
            longest = float(run.tags.get("dagster/max_runtime", LONGEST_SECONDS))
        except ValueError:
            longest = LONGEST_SECONDS
        began = datetime.fromtimestamp(
            record.start_time or record.create_timestamp.timestamp(), UTC
        )
        over = now - began - timedelta(seconds=longest)
        return f"should have ended {_long(over)} ago" if over > SLACK else None
    # A database without time zones hands out naive times, which are UTC.
    waited = now - record.create_timestamp.replace(tzinfo=UTC)
    if waited <= WAITS_FOR:
        return None
    return f"has been {run.status.value} for {_long(waited)}"


def _long(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
