"""Two S3 servers that stand for two regions: rclone over directories, requests signed."""

import http.client
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from kb_dr.errors import SandboxError
from kb_dr.sandbox.places import BUCKETS, Places, State, free_port, with_port, write_state
from kb_dr.sandbox.processes import EndedEarly, running, start_detached

ATTEMPTS = 5


def start_region(places: Places, state: State, copy: str) -> State:
    """Start one region unless it runs; the state with its port."""
    part = f"region-{copy}"
    (places.region(copy) / BUCKETS[copy]).mkdir(mode=0o700, parents=True, exist_ok=True)
    if running(places.pid_file(part)) is not None:
        return state
    known = state.ports.get(part)
    for attempt in range(1, ATTEMPTS + 1):
        port = known or free_port()
        try:
            start_detached(
                part,
                _command(port, places.region(copy)),
                log=places.log(part),
                pid_file=places.pid_file(part),
                environment=_environment(state),
                ready=lambda port=port: _answers(port),  # type: ignore[misc]  # this port, now
            )
        except EndedEarly:
            if attempt == ATTEMPTS or known:
                raise
            continue
        changed = with_port(state, part, port)
        write_state(places, changed)
        return changed
    return replace(state)


def _command(port: int, directory: Path) -> list[str]:
    beside = Path(sys.executable).with_name("rclone")
    program = str(beside) if beside.exists() else shutil.which("rclone")
    if program is None:
        raise SandboxError(
            "start a region: rclone is missing", hint="Install kb-dr with its extra: [sandbox]."
        )
    return [
        program, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}",
        "--dir-cache-time", "200ms", "--poll-interval", "0", str(directory),
    ]  # fmt: skip


def _environment(state: State) -> dict[str, str]:
    # Not an argument: every user of the machine reads those. A list in CSV: hence the quotes.
    pair = f'"{state.secrets.s3_key},{state.secrets.s3_secret}"'
    return {**os.environ, "RCLONE_AUTH_KEY": pair}


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
