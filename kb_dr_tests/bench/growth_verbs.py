"""One verb over an installation of two copies, measured in a process of its own.

What a person types is run as it is typed, what Dagster runs as Dagster calls it.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from kb_dr import wiring
from kb_dr.cli.app import app
from kb_dr.errors import KbDrError
from kb_dr.ports import Repository
from kb_dr.settings import Settings
from kb_dr_tests.bench.growth_world import (
    CountedInstallation,
    World,
    near_the_end,
    settings_of,
)
from kb_dr_tests.bench.made_history import SERVICE
from kb_dr_tests.bench.scale_verbs import high_water_bytes
from kb_dr_tests.stored_backups import SEGMENT_BYTES


@dataclass(frozen=True, slots=True)
class Grown:
    """What one verb took."""

    verb: str
    seconds: float
    cpu_seconds: float
    """Of this process and the ones it started."""
    peak_bytes: int
    """The high-water mark of the whole process."""
    idle_bytes: int
    """The same before the verb began: Python and what is imported."""
    calls: dict[str, int]
    """What was asked of the two copies together."""
    said: str


Prepared = Callable[[], str]
"""What is measured; says in a few words what it came to."""


def _typed(*words: str) -> Callable[[CountedInstallation], Prepared]:
    """A verb as it is typed. One that says that something is wrong has looked all the same."""

    def prepare(installation: CountedInstallation) -> Prepared:
        primary = Path(installation.primary.url)
        stamp = max(path.name for path in (primary / "full").iterdir())
        given = [
            word.format(
                place=installation.settings.state_dir,
                newest=f"{SERVICE}-full-{stamp}",
                near_the_end=near_the_end(installation.primary),
                segment=SEGMENT_BYTES,
            )
            for word in words
        ]

        def run() -> str:
            try:
                app.main(given, standalone_mode=False)
            except KbDrError as error:
                return str(error)
            return "done"

        return run

    return prepare


def _sensor(name: str, *, settled: bool = False) -> Callable[[CountedInstallation], Prepared]:
    """One tick of a daemon that has ticked before; ``settled``: and has shown every backup."""

    def prepare(installation: CountedInstallation) -> Prepared:
        import dagster as dg

        from kb_dr_tests.bench.growth_ticks import Ticks

        # In files: what Dagster keeps is in a database, and no memory of ours.
        installation.settings.state_dir.mkdir(exist_ok=True)
        there = tempfile.mkdtemp(dir=installation.settings.state_dir)
        ticks = Ticks(installation, name, dg.DagsterInstance.local_temp(there))
        if settled:
            ticks.settle()
        else:
            ticks.tick()  # its process knows now what it has read
        return ticks.tick

    return prepare


VERBS: dict[str, Callable[[CountedInstallation], Prepared]] = {
    "list": _typed("list"),
    "list --json": _typed("list", "--json"),
    "status": _typed("status"),
    "retention plan": _typed("retention", "plan"),
    "report": _typed("report"),
    "restore --dry-run": _typed("restore", "--latest", "--into", "{place}/restored", "--dry-run"),
    "restore --target-lsn --dry-run": _typed(
        "restore", "--target-lsn", "{near_the_end}", "--into", "{place}/restored", "--dry-run"
    ),
    "validate of one": _typed("validate", "{newest}"),
    "wal audit": _typed("wal", "audit", "--segment-bytes", "{segment}"),
    "copy, nothing lacks": _typed("copy"),
    "catalog rebuild": _typed("catalog", "rebuild"),
    "catalog sync, nothing new": _typed("catalog", "sync"),
    "list --catalog": _typed("list", "--catalog"),
    "sensor: what offsite lacks, nothing new": _sensor("new_backups_go_offsite"),
    "sensor: catalog, nothing new": _sensor("catalog_follows_the_repository"),
    "sensor: pages, nothing new": _sensor("pages_follow_the_repository", settled=True),
}


def measure(verb: str, world: World) -> Grown:
    """Run it here and now; nothing it prints is kept."""
    os.environ.update(settings_of(world))
    installation = CountedInstallation(world)
    # Where every verb gets it from.
    mock.patch("kb_dr.installation.open_installation", return_value=installation).start()
    _count_without_installation(installation)
    run = VERBS[verb](installation)
    _forget_high_water()  # what was laid out for it is not its own
    idle, asked = high_water_bytes(), installation.calls()
    began, cpu = time.perf_counter(), _cpu_seconds()
    with _silent():
        said = run()
    return Grown(
        verb,
        time.perf_counter() - began,
        _cpu_seconds() - cpu,
        high_water_bytes(),
        idle,
        {what: count - asked.get(what, 0) for what, count in installation.calls().items()},
        said[:200],
    )


def _count_without_installation(installation: CountedInstallation) -> None:
    """The same copies for a verb that opens no installation: `wal audit`."""
    opened = wiring.repository

    def repository(settings: Settings, copy: str) -> Repository:
        found = installation.counted.get(copy)
        return opened(settings, copy) if found is None else found

    mock.patch("kb_dr.wiring.repository", repository).start()
    mock.patch("kb_dr.wiring.codec", return_value=installation.codec).start()


def _forget_high_water() -> None:
    """Source: proc(5), /proc/pid/clear_refs, 5."""
    Path("/proc/self/clear_refs").write_text("5")


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


if __name__ == "__main__":
    verb, world = sys.argv[1], World(**json.loads(sys.stdin.read()))
    print(json.dumps(asdict(measure(verb, world))))
