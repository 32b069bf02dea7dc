"""Measure the parts of a piece of work."""

from collections.abc import Iterator
from contextlib import contextmanager

from kb_dr.domain.proof import Phase
from kb_dr.ports import Clock


class Measurement:
    """A part that is under way; what it moved may be known only at its end."""

    def __init__(self, size_bytes: int | None) -> None:
        self.size_bytes = size_bytes


class Phases:
    """What was done, in order, and how long each took; failed parts are measured as well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: list[Phase] = []

    @contextmanager
    def measured(self, name: str, size_bytes: int | None = None) -> Iterator[Measurement]:
        """Note the seconds the block takes."""
        began = self._clock.monotonic()
        measurement = Measurement(size_bytes)
        try:
            yield measurement
        finally:
            seconds = self._clock.monotonic() - began
            self._done.append(Phase(name, seconds, measurement.size_bytes))

    @property
    def done(self) -> tuple[Phase, ...]:
        """All parts that have ended."""
        return tuple(self._done)
