"""How long a tick of the alert sensor takes, over a long event log in a real PostgreSQL.

    python -m kb_dr_tests.bench.alert_sensor [--events N] [--runs N]

The figures are printed; nothing is asserted about time. That no failure is missed is asserted.
"""

import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import dagster as dg

from kb_dr.definitions import build_definitions
from kb_dr.defs.resources import ScheduleTimes
from kb_dr.domain.notice import State
from kb_dr.domain.watch_checks import MINUTE_CHECKS
from kb_dr.sandbox.dagster_services import prepare_instance
from kb_dr_tests.dagster_storage import dagster_storage, storage_environment
from kb_dr_tests.listening import Alerts, Listening
from kb_dr_tests.postgres_servers import programs_of

_EVERY = 40
"""One run in so many fails, and one in so many has a red check."""


@dataclass(frozen=True, slots=True)
class History:
    """What was written, and what has to come out of it."""

    events: int
    runs: int
    failed: frozenset[str]
    red: frozenset[str]
    """Ids of notices: runs that failed, checks that did."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """What the ticks after it took."""

    first_seconds: float
    """A first start: nothing of the history is read but the last day's failures."""
    backlog_seconds: tuple[float, ...]
    """Each tick, until all of it was read."""
    idle_seconds: tuple[float, ...]
    missed: frozenset[str]
    """Notices that should have come, and did not."""


@contextmanager
def event_log(directory: Path) -> Iterator[dg.DagsterInstance]:
    """An instance as dagster.yaml sets it up, on a PostgreSQL of its own."""
    with dagster_storage(programs_of(16), directory / "storage") as cluster:
        # Writing the history is not what is measured.
        cluster.query("alter database dagster set synchronous_commit = off")
        before = dict(os.environ)
        os.environ.update(storage_environment(cluster))
        try:
            home = prepare_instance(directory)
            with dg.DagsterInstance.from_config(str(home)) as instance:
                yield instance
        finally:
            os.environ.clear()
            os.environ.update(before)


def write_history(instance: dg.DagsterInstance, runs: int, events: int) -> History:
    """``runs`` that ended, with so many events in all; now and then one failed, or a check did."""
    each = max(events // runs - 2, 1)
    names = list(MINUTE_CHECKS.items())
    failed: set[str] = set()
    red: set[str] = set()
    for number in range(runs):
        run_id = str(uuid.uuid4())
        fails, is_red = number % _EVERY == 7, number % _EVERY == 23
        job = "wal_job" if fails else "watch_job"
        instance.add_run(
            dg.DagsterRun(job_name=job, run_id=run_id, status=dg.DagsterRunStatus.STARTED)
        )
        for place in range(each):
            name, asset = names[(number + place) % len(names)]
            passed = not (is_red and place == 0)
            if not passed:
                red.add(f"check/{run_id}/{'/'.join(asset)}/{name}")
            _check(instance, run_id, job, dg.AssetCheckKey(dg.AssetKey(list(asset)), name), passed)
        run = instance.get_run_by_id(run_id)
        assert run is not None
        if fails:
            failed.add(f"run/{run_id}")
            instance.report_run_failed(run, "as the bench says")
        else:
            _ended(instance, run_id, job)
    return History(runs * (each + 2), runs, frozenset(failed), frozenset(red))


def measure(instance: dg.DagsterInstance, runs: int, events: int) -> tuple[History, Ticks]:
    """Write the history between the first tick and the next ones, and time each."""
    listening = Listening()
    alerts = Alerts(instance, build_definitions(listening.door(), ScheduleTimes()), listening)
    first = _timed(alerts)
    history = write_history(instance, runs, events)
    backlog = [_timed(alerts)]
    while "more runs are read next" in alerts.said:
        backlog.append(_timed(alerts))
    idle = tuple(_timed(alerts) for _ in range(3))
    told = {each.id for each in listening.taken if each.state is State.BROKEN}
    missed = (history.failed | history.red) - told
    return history, Ticks(first, tuple(backlog), idle, frozenset(missed))


def _check(
    instance: dg.DagsterInstance, run_id: str, job: str, check: dg.AssetCheckKey, passed: bool
) -> None:
    instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name=job,
            event_specific_data=dg.AssetCheckEvaluation(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=passed,
                description="as the bench says",
                metadata={"age_seconds": 12.5, "subjects": "[]"},
            ),
        ),
        run_id=run_id,
    )


def _ended(instance: dg.DagsterInstance, run_id: str, job: str) -> None:
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=job),
        run_id=run_id,
    )


def _timed(alerts: Alerts) -> float:
    began = time.perf_counter()
    alerts.tick()
    return time.perf_counter() - began


@click.command()
@click.option("--events", default=10_000, show_default=True, help="Events in the log.")
@click.option("--runs", default=2_000, show_default=True, help="Runs they belong to.")
def main(events: int, runs: int) -> None:
    """Print how long ticks take, and whether anything was missed."""
    with (
        tempfile.TemporaryDirectory(prefix="kb-dr-bench-") as directory,
        event_log(Path(directory)) as instance,
    ):
        began = datetime.now(UTC)
        history, ticks = measure(instance, runs, events)
        took = datetime.now(UTC) - began
    click.echo(f"{history.events} events of {history.runs} runs ({_short(took)} in all)")
    click.echo(f"first tick       {ticks.first_seconds:6.2f} s")
    for seconds in ticks.backlog_seconds:
        click.echo(f"tick of backlog  {seconds:6.2f} s")
    click.echo(f"tick without news {min(ticks.idle_seconds):5.2f} s")
    expected = len(history.failed) + len(history.red)
    click.echo(f"{expected} failures and red checks, {len(ticks.missed)} missed")
    if ticks.missed:
        raise SystemExit(1)


def _short(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"


if __name__ == "__main__":
    main()
