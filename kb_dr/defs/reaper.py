"""The reaper: ends what a crash of this machine left half-alive."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.heartbeat import BEAT_SECONDS
from kb_dr.defs.resources import InstallationDoor
from kb_dr.errors import KbDrError

SILENT_FOR = timedelta(seconds=10 * BEAT_SECONDS)
"""Ten missed signs of life. A run waiting for its process is left to run monitoring."""


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails runs that are STARTED and long silent (their machine crashed), and removes "
    "scratch servers whose run is gone.",
)
def reaper(
    context: dg.SensorEvaluationContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.SkipReason:
    """A run is failed when two ticks in a row found it silent, with nothing said in between."""
    instance = context.instance
    silent = _silent_runs(instance)
    before: dict[str, float] = json.loads(context.cursor) if context.cursor else {}
    dead = [run_id for run_id, at in silent.items() if before.get(run_id) == at]
    for run_id in dead:
        run = instance.get_run_by_id(run_id)
        if run is not None:
            instance.report_run_failed(
                run,
                f"no sign of life for more than {SILENT_FOR}: its process is taken for dead, "
                "most likely with its machine. Nothing half-done counts as done; run it again.",
            )
    context.update_cursor(json.dumps({r: at for r, at in silent.items() if r not in dead}))
    try:
        reaped = door.open().reap()
    except KbDrError as error:
        return dg.SkipReason(f"failed {len(dead)} dead runs; scratch not looked at: {error}")
    return dg.SkipReason(f"failed {len(dead)} dead runs; removed {len(reaped)} scratch servers")


def _silent_runs(instance: dg.DagsterInstance) -> dict[str, float]:
    """Runs under way in a process and silent for long, with the time of their last event."""
    limit = now() - SILENT_FOR
    found: dict[str, float] = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        at = ledger.last_sign_of_life(instance, run.run_id)
        if at is not None and at < limit:
            found[run.run_id] = at.timestamp()
    return found
