"""End a sandbox; and the disaster of the demo."""

import shutil
import signal
from pathlib import Path

from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.errors import SandboxError
from kb_dr.sandbox.alert_part import ALERTS
from kb_dr.sandbox.clusters import stop_cluster
from kb_dr.sandbox.places import BUCKETS, locked, open_places
from kb_dr.sandbox.processes import descendants, end_noted, running, wait_gone


def down(directory: Path, *, purge: bool = False) -> tuple[str, ...]:
    """End every process of the sandbox; which parts ran. ``purge`` removes its files as well."""
    places = open_places(directory)
    ended = []
    with locked(directory):
        # Production first: it archives its last WAL while the regions still answer.
        for cluster in ("production", "storage"):
            if stop_cluster(places, cluster):
                ended.append(cluster)
        for copy in BUCKETS:
            if end_noted(places.pid_file(f"region-{copy}")):
                ended.append(f"region-{copy}")
        if end_noted(places.pid_file(ALERTS)):
            ended.append(ALERTS)
        # Of restores that were killed: their servers, and their sockets elsewhere.
        for left in (places.scratch, places.restored.parent):
            LocalScratchSpace(left).reap()
        if purge:
            shutil.rmtree(places.root)
    return tuple(ended)


def lose_production(directory: Path) -> None:
    """The disaster: the data directory is removed under the running server, which then dies."""
    places = open_places(directory)
    data = places.data("production")
    with locked(directory):
        server = running(places.pid_file("production"))
        if server is None or not data.is_dir():
            raise SandboxError(f"lose production of {places.root}: it does not run")
        family = descendants(server)
        # What is being written meanwhile may keep directories from going: the rest goes below.
        shutil.rmtree(data, ignore_errors=True)
        stop_cluster(places, "production", signal.SIGKILL)
        wait_gone(family)
        shutil.rmtree(data, ignore_errors=True)
        if data.exists():
            raise SandboxError(f"lose production of {places.root}: {data} is still there")
