"""What of a sandbox runs, and where."""

from dataclasses import dataclass
from pathlib import Path

from kb_dr.sandbox.alert_part import ALERTS
from kb_dr.sandbox.places import Places, open_places, read_state
from kb_dr.sandbox.processes import running


@dataclass(frozen=True, slots=True)
class Part:
    """One program of a sandbox."""

    name: str
    running: bool
    state: str
    """``running``, ``stopped``, ``not built yet``, or ``lost``: its data directory is gone."""
    address: str
    pid: int | None
    log: str


def describe(directory: Path) -> tuple[Part, ...]:
    """Each program; SandboxError when there is no sandbox."""
    places = open_places(directory)
    state = read_state(places)
    found = []
    for name in ("production", "storage", "region-primary", "region-offsite", ALERTS):
        process = running(places.pid_file(name))
        port = state.ports.get(name)
        scheme = "postgresql" if name in ("production", "storage") else "http"
        found.append(
            Part(
                name=name,
                running=process is not None,
                state=_state(places, name, built=port is not None, runs=process is not None),
                address=f"{scheme}://127.0.0.1:{port}" if port else "not built yet",
                pid=process.pid if process else None,
                log=str(places.log(name)),
            )
        )
    return tuple(found)


def _state(places: Places, name: str, *, built: bool, runs: bool) -> str:
    if not built:
        return "not built yet"
    if name in ("production", "storage") and not places.data(name).is_dir():
        return "lost"
    return "running" if runs else "stopped"
