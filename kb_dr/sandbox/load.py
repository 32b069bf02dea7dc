"""A write load that remembers which rows production confirmed."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from pgvector.psycopg import register_vector

from kb_dr.errors import SandboxError
from kb_dr.sandbox.clusters import connect
from kb_dr.sandbox.content import embedding
from kb_dr.sandbox.places import State

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One row whose commit production acknowledged."""

    title: str
    at: float
    """time.time() when the acknowledgement came."""


class WriteLoad:
    """Writes one row after the other until it is stopped, or production is gone."""

    def __init__(self, state: State) -> None:
        self.token = secrets.token_hex(4)
        """Begins the title of each row of this load."""
        self.confirmed: list[Confirmed] = []
        self.failure: str | None = None
        self._state = state
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="write-load", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it and wait."""
        self._stop.set()
        self._thread.join()

    def wait_for(self, count: int, seconds: float = 120.0) -> None:
        """Wait until so many rows are confirmed; SandboxError when they do not come."""
        deadline = time.monotonic() + seconds
        while len(self.confirmed) < count:
            if self.failure or time.monotonic() > deadline:
                raise SandboxError(f"write load: {len(self.confirmed)} rows, {self.failure}")
            time.sleep(0.02)

    def _run(self) -> None:
        try:
            with connect(self._state, "production") as connection:
                register_vector(connection)
                number = 0
                while not self._stop.is_set():
                    number += 1
                    title = f"load {self.token} {number}"
                    connection.execute(
                        "insert into knowledge_entries (organization_id, title, body, embedding) "
                        "values (1, %s, 'written while backed up', %s)",
                        [title, embedding(title)],
                    )
                    self.confirmed.append(Confirmed(title, time.time()))
                    self._stop.wait(_PAUSE_SECONDS)
        except psycopg.Error as error:
            # Expected in the disaster; wait_for() tells it when it comes too soon.
            self.failure = str(error).strip().splitlines()[0]


@contextmanager
def running_load(state: State) -> Iterator[WriteLoad]:
    """A load that ends with the block."""
    load = WriteLoad(state)
    load.start()
    try:
        yield load
    finally:
        load.stop()


def surviving(state: State, token: str) -> set[str]:
    """The titles of a load's rows that are in production now."""
    with connect(state, "production") as connection:
        rows = connection.execute(
            "select title from knowledge_entries where title like %s", [f"load {token} %"]
        )
        return {row[0] for row in rows}
