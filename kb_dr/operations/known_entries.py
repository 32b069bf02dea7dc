"""What was read lately, so that a process that looks every few seconds need not read it again."""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Generic, TypeVar

from kb_dr.domain.stored import Listed

T = TypeVar("T")

_BELIEVED_SECONDS = 900.0
"""Objects are never rewritten, but they rot: each is read again after a quarter of an hour."""

_MOST_BYTES = 64 * 1024 * 1024
"""Of what is held; where nobody says, that takes as much as the objects do that it was read from.
"""


class KnownEntries(Generic[T]):
    """Values by the object they were read from; one that changed, in size or time, is not known.

    Bounded by their size: what was put first is forgotten first. Safe for threads.
    """

    def __init__(
        self,
        *,
        believed_seconds: float = _BELIEVED_SECONDS,
        most_bytes: int = _MOST_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._believed_seconds = believed_seconds
        self._most_bytes = most_bytes
        self._monotonic = monotonic
        self._lock = Lock()
        self._values: OrderedDict[tuple[str, str], tuple[int, datetime, float, int, T]] = (
            OrderedDict()
        )
        self._bytes = 0

    def get(self, url: str, listed: Listed) -> T | None:
        """What was read from this very object lately; None when it has to be read."""
        with self._lock:
            found = self._values.get((url, listed.key))
        if found is None:
            return None
        size_bytes, modified, at, _, value = found
        same = (size_bytes, modified) == (listed.size_bytes, listed.modified)
        return value if same and self._monotonic() - at < self._believed_seconds else None

    def put(self, url: str, listed: Listed, value: T, *, held_bytes: int | None = None) -> None:
        """Remember it, from now on; ``held_bytes``: what it takes in memory, about."""
        held = listed.size_bytes if held_bytes is None else held_bytes
        entry = (listed.size_bytes, listed.modified, self._monotonic(), held, value)
        with self._lock:
            old = self._values.pop((url, listed.key), None)
            self._bytes += held - (old[3] if old else 0)
            self._values[url, listed.key] = entry
            while self._bytes > self._most_bytes:
                _, (_, _, _, gone, _) = self._values.popitem(last=False)
                self._bytes -= gone
