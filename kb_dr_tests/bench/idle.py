"""What it costs to do nothing: Dagster's services over a sandbox in which nothing happens.

    python -m kb_dr_tests.bench.idle [--seconds 60] [--rounds 3] [--json]

All schedules and sensors are on. CPU counts, not time; nothing is asserted about either.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psutil

from kb_dr.sandbox.bring_up import state_of, up
from kb_dr.sandbox.clusters import query
from kb_dr.sandbox.take_down import down
from kb_dr_tests.bench.contest import Idle, Waiting
from kb_dr_tests.bench.waiting import ENTRIES, Ui, first_byte, running_ui, services_of, wait_for_it

CODE_SERVER, RUNS, DAEMON, WEBSERVER = "code server", "runs", "daemon", "webserver"
_WORDS = {
    "dagster._daemon": DAEMON,
    "dagster_webserver": WEBSERVER,
    "code-server": CODE_SERVER,
    " api grpc": CODE_SERVER,
}
_SETTLE_SECONDS = 75.0
"""A whole minute's schedules, with the first reading of everything, are over by then."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process, and what it took so far."""

    pid: int
    words: str
    """Its command line."""
    own_seconds: float
    ended_children_seconds: float
    """Of those it has waited for."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done meanwhile, although nobody asked for anything."""

    ticks: Mapping[str, int]
    """Of schedules and sensors, by name."""
    runs: Mapping[str, int]
    """Started, by job."""


def by_part(trees: Iterable[Iterable[Process]]) -> dict[str, float]:
    """CPU seconds so far of each part; each tree begins with the service itself.

    Runs are children of the code server; one that can reload has an inner server besides.
    """
    found = dict.fromkeys((DAEMON, CODE_SERVER, RUNS, WEBSERVER), 0.0)
    for leader, *children in map(list, trees):
        part = next((part for word, part in _WORDS.items() if word in leader.words), None)
        if part is None:
            continue
        for each in (leader, *children):
            serves = each is leader or " api grpc" in each.words
            found[part if part != CODE_SERVER or serves else RUNS] += each.own_seconds
            found[RUNS if part == CODE_SERVER else part] += each.ended_children_seconds
    return found


def between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each part took meanwhile."""
    return {part: max(after[part] - before[part], 0.0) for part in before}


def measure_idle(ui: Ui, seconds: float) -> tuple[Idle, Done]:
    """Watch a `kb-dr ui` that nobody uses."""
    services = services_of(ui)
    before, began, ran = _now(services), time.perf_counter(), _done(ui)
    time.sleep(seconds)
    after, took, done = _now(services), time.perf_counter() - began, _done(ui)
    return Idle(took, between(before, after)), Done(
        _newly(ran.ticks, done.ticks), _newly(ran.runs, done.runs)
    )


def measure(
    directory: Path, *, seconds: float = 60.0, rounds: int = 3
) -> tuple[Idle, Done, tuple[Waiting, ...]]:
    """Build a sandbox, let it be idle with one backup in it, then start and use it in rounds."""
    up(directory, entries=ENTRIES, say=_say)
    try:
        down(directory)
        with running_ui(directory) as ui:
            first_byte(ui)
            time.sleep(_SETTLE_SECONDS)
            idle, done = measure_idle(ui, seconds)
        return idle, done, wait_for_it(directory, rounds)
    finally:
        down(directory, purge=True)


def _now(services: Iterable[psutil.Process]) -> dict[str, float]:
    return by_part([_seen(each) for each in (leader, *_below(leader))] for leader in services)


def _below(leader: psutil.Process) -> list[psutil.Process]:
    return list(leader.children(recursive=True))


def _seen(process: psutil.Process) -> Process:
    try:
        with process.oneshot():
            times, words = process.cpu_times(), " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return Process(process.pid, "", 0.0, 0.0)
    return Process(
        process.pid,
        words,
        times.user + times.system,
        times.children_user + times.children_system,
    )


def _done(ui: Ui) -> Done:
    state = state_of(ui.directory)
    ticks = query(state, "storage", _TICKS, database="dagster")
    runs = query(state, "storage", _RUNS, database="dagster")
    return Done({str(n): int(c) for n, c in ticks}, {str(n): int(c) for n, c in runs})


_TICKS = "select tick_body::json ->> 'job_name', count(*) from job_ticks group by 1"
_RUNS = "select pipeline_name, count(*) from runs group by 1"


def _newly(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(after) - Counter(before)).items()))


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print(idle: Idle, done: Done, waits: Iterable[Waiting]) -> None:
    click.echo(f"idle for {idle.seconds:.0f} s: {idle.cores:.1%} of one core")
    for part, cpu in idle.cpu_seconds.items():
        click.echo(f"  {part:12} {cpu:6.2f} CPU s")
    click.echo(f"ticks: {', '.join(f'{name} {n}' for name, n in done.ticks.items())}")
    click.echo(f"runs: {', '.join(f'{name} {n}' for name, n in done.runs.items())}")
    for wait in waits:
        click.echo(f"{wait.what}: {', '.join(f'{each:.1f}' for each in wait.seconds)} s")


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="To be idle.")
@click.option("--rounds", default=3, show_default=True, help="Starts and launches.")
@click.option("--json", "as_json", is_flag=True, help="One object, for the page.")
def main(seconds: float, rounds: int, as_json: bool) -> None:
    """Print what an idle minute costs, and how long a person waits."""
    # The path of a socket may be 107 bytes long.
    with tempfile.TemporaryDirectory(prefix="kb-dr-idle-", dir="/tmp") as parent:
        idle, done, waits = measure(Path(parent) / "sandbox", seconds=seconds, rounds=rounds)
    if as_json:
        found = {
            "idle": asdict(idle), "done": asdict(done), "waiting": [asdict(each) for each in waits]
        }  # fmt: skip
        click.echo(json.dumps(found, indent=1))
    else:
        _print(idle, done, waits)


if __name__ == "__main__":
    main()
