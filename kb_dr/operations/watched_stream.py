"""Watches over a stream while it is stored: is it still wanted, and how far has it come?"""

from collections.abc import Callable

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import ConfigurationError
from kb_dr.ports import Clock, Progress, Readable

_LOCK_CHECK_SECONDS = 5.0


def refuse_too_many_chunks(backup: BackupId, size_bytes: int, chunk_bytes: int) -> None:
    """Before hours are spent on it: what is stored is never much larger than what was read."""
    if size_bytes >= layout.MOST_CHUNKS * chunk_bytes:
        raise ConfigurationError(
            f"back up {backup}: {size_bytes} bytes in chunks of "
            f"{chunk_bytes}, expected fewer than {layout.MOST_CHUNKS} chunks",
            hint="Raise KB_DR_CHUNK_MIB; it may be 64.",
        )


class WatchedStream:
    """Passes a stream on; looks at the lock now and then, and says how far it has come."""

    def __init__(
        self, inner: Readable, check: Callable[[], None], clock: Clock, progress: Progress
    ) -> None:
        self._inner = inner
        self._check = check
        self._clock = clock
        self._progress = progress
        self._looked = clock.monotonic()

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(size)
        self._progress.advance(len(data))
        if self._clock.monotonic() - self._looked > _LOCK_CHECK_SECONDS:
            self._check()
            self._looked = self._clock.monotonic()
        return data
