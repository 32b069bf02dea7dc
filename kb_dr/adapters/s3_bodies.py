"""The bytes of objects in S3, whole or from their beginning.

obstore's plain call is woken by the thread that has the connection at each 16 KiB that come over
TLS, and spends more on that than on deciphering. Awaited, a body is put together where it arrives,
and who asked is woken once: half the CPU. asyncio's loop has to be there for it; one segment of
WAL would not earn back its import.
"""

import threading
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import GenericError

if TYPE_CHECKING:
    import asyncio

    from obstore import Bytes
    from obstore.store import S3Store

_LARGE_BYTES: Final = 4 << 20
_MUCH_BYTES: Final = 24 << 20
"""Who has read that much, more than one segment, is going to read on."""

_begins = threading.Lock()
_loop: "asyncio.AbstractEventLoop | None" = None
"""One for the process, in a thread of its own: it only waits."""


class Bodies:
    """Reads objects of one store, from any number of threads; raises what obstore raises."""

    def __init__(self, store: "S3Store") -> None:
        self._store = store
        self._read_bytes = 0

    def whole(self, key: str, expected_bytes: int = 0) -> bytes:
        """All of it; how large it should be, where that is known, may save CPU."""
        if expected_bytes >= _LARGE_BYTES or self._read_bytes >= _MUCH_BYTES:
            found = _awaited(self._store, key)
        else:
            found = obstore.get(self._store, key).bytes()
        self._read_bytes += len(found)
        return found.to_bytes()

    def beginning(self, key: str, size_bytes: int) -> bytes:
        """Its first bytes."""
        try:
            return obstore.get_range(self._store, key, start=0, length=size_bytes).to_bytes()
        except GenericError as error:
            if "non-partial" not in str(error):
                raise
        # rclone's server sends the whole object, whatever range it is asked for: the rest is left.
        for start in obstore.get(self._store, key).stream(min_chunk_size=size_bytes):
            return bytes(start)[:size_bytes]
        return b""


def _awaited(store: "S3Store", key: str) -> "Bytes":
    import asyncio  # only here: see above

    async def read() -> "Bytes":
        found = await obstore.get_async(store, key)
        return await found.bytes_async()

    return asyncio.run_coroutine_threadsafe(read(), _running_loop()).result()


def _running_loop() -> "asyncio.AbstractEventLoop":
    global _loop
    import asyncio

    with _begins:
        if _loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="s3-bodies", daemon=True).start()
            _loop = loop  # only one that runs: who awaits it has no limit of time
        return _loop
