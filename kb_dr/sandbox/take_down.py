"""End a sandbox; and the disaster of the demo."""

import shutil
import signal
from pathlib import Path

from kb_dr.sandbox.clusters import stop_cluster
from kb_dr.sandbox.places import BUCKETS, open_places
from kb_dr.sandbox.processes import end_noted


def down(directory: Path, *, purge: bool = False) -> tuple[str, ...]:
    """End every process of the sandbox; which parts ran. ``purge`` removes its files as well."""
    places = open_places(directory)
    ended = []
    for cluster in ("production", "storage"):
        if stop_cluster(places, cluster):
            ended.append(cluster)
    for copy in BUCKETS:
        if end_noted(places.pid_file(f"region-{copy}")):
            ended.append(f"region-{copy}")
    if purge:
        shutil.rmtree(places.root)
    return tuple(ended)


def lose_production(directory: Path) -> None:
    """The disaster: production's server dies at once and its data directory is gone."""
    places = open_places(directory)
    stop_cluster(places, "production", signal.SIGKILL)
    shutil.rmtree(places.data("production"))
