"""Time, byte streams, and whoever is told how far work has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """Time, so that tests can choose it."""

    def now(self) -> datetime:
        """The present, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Readable(Protocol):
    """A byte stream that is read once."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; empty only at the end."""
        ...


class Writable(Protocol):
    """A byte stream that is written once."""

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``; return its length."""
        ...

    def flush(self) -> None:
        """Nothing is promised; some libraries call it."""
        ...


class Progress(Protocol):
    """Told how far long work has come; says so to people about every 10 seconds."""

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        """A phase starts; ``total_bytes`` None when it cannot be known."""
        ...

    def advance(self, count: int) -> None:
        """``count`` more bytes are done. Called often, from any thread; cheap."""
        ...

    def end(self) -> None:
        """The phase is over."""
        ...
