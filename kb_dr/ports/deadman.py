"""What tells of us when we are dead: somebody who misses our pings, and a mark that grows old."""

from datetime import datetime
from typing import Protocol

from kb_dr.domain.ping import Signal


class Pinger(Protocol):
    """Tells one dead man's switch of one work."""

    def send(self, signal: Signal, run: str, text: str = "") -> None:
        """Tell it, after all that was told before; returns at once, and raises nothing.

        ``run`` is the same uuid for a beginning and its end; ``text`` is a few lines for people.
        """
        ...

    def end(self) -> None:
        """Wait until all has been told, or could not be; never longer than some 20 seconds."""
        ...


class WatchMark(Protocol):
    """When the watch last came to its end, where other machines see it."""

    def write(self, at: datetime, *, believed_until: datetime) -> None:
        """Raises CatalogError and its children. An older moment than the one there changes
        nothing, unless that one is later than ``believed_until``: a clock that ran ahead wrote it.
        """
        ...

    def read(self) -> datetime | None:
        """None when it never came to its end. Raises CatalogError and its children."""
        ...
