"""One verb over an installation of two copies, measured in a process of its own.

What a person types is run as it is typed, what Dagster runs as Dagster calls it.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kb_dr.cli import opened
from kb_dr.errors import KbDrError
from kb_dr_tests.bench.growth_world import CountedInstallation, World, settings_of
from kb_dr_tests.bench.scale_verbs import high_water_bytes


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


def _typed(*words: str) -> Callable[[CountedInstallation], str]:
    """A verb as it is typed. One that says that something is wrong has looked all the same."""

    def run(installation: CountedInstallation) -> str:
        from kb_dr.cli.app import app

        given = [word.format(place=installation.settings.state_dir) for word in words]
        try:
            app.main(given, standalone_mode=False)
        except KbDrError as error:
            return str(error)
        return "done"

    return run


def _sensor(name: str) -> Callable[[CountedInstallation], str]:
    """One tick, where nothing changed since the last one."""

    def tick(installation: CountedInstallation) -> str:
        import dagster as dg

        from kb_dr.defs.catalog import catalog_follows_the_repository
        from kb_dr.defs.postgres.sensors import new_backups_go_offsite
        from kb_dr.defs.resources import InstallationDoor

        sensors = {
            each.name: each for each in (catalog_follows_the_repository, new_backups_go_offsite)
        }
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance, resources={"door": InstallationDoor(lambda: installation)}
            )
            said = sensors[name](context)
        return said.skip_message or "" if isinstance(said, dg.SkipReason) else "it asks for runs"

    return tick


VERBS: dict[str, Callable[[CountedInstallation], str]] = {
    "list": _typed("list"),
    "status": _typed("status"),
    "retention plan": _typed("retention", "plan"),
    "report": _typed("report"),
    "restore --dry-run": _typed("restore", "--latest", "--into", "{place}/restored", "--dry-run"),
    "catalog rebuild": _typed("catalog", "rebuild"),
    "catalog sync": _typed("catalog", "sync"),
    "list --catalog": _typed("list", "--catalog"),
    "sensor: copies": _sensor("new_backups_go_offsite"),
    "sensor: catalog": _sensor("catalog_follows_the_repository"),
}


def measure(verb: str, world: World) -> Grown:
    """Run it here and now; nothing it prints is kept."""
    os.environ.update(settings_of(world))
    installation = CountedInstallation(world)
    opened.open_installation = lambda _: installation
    idle = high_water_bytes()
    began, cpu = time.perf_counter(), _cpu_seconds()
    with _silent():
        said = VERBS[verb](installation)
    return Grown(
        verb,
        time.perf_counter() - began,
        _cpu_seconds() - cpu,
        high_water_bytes(),
        idle,
        installation.calls(),
        said[:200],
    )


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


if __name__ == "__main__":
    verb, world = sys.argv[1], World(**json.loads(sys.stdin.read()))
    if profile := os.environ.get("PROFILE"):
        import cProfile

        cProfile.run("measure(verb, world)", profile)
    print(json.dumps(asdict(measure(verb, world))))
