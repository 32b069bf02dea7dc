"""A base backup that is read by a thread of its own, some pieces before they are asked for.

Reading and hashing on one core, compressing and encrypting on another: neither waits for the other
as long as there is something between them.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from kb_dr.domain.base_backup import BaseBackupEnd
from kb_dr.errors import PostgresCommandFailed
from kb_dr.logs import with_these_ids
from kb_dr.ports import BaseBackupStream

_PIECE_BYTES: Final = 512 * 1024
"""What AgeCodec asks for at once: each piece that is handed over costs a change of threads."""
_PIECES: Final = 16
_OVER: Final = b""
_LOOK_SECONDS: Final = 0.05


@contextmanager
def read_ahead(
    backup: BaseBackupStream, break_off: Callable[[], None]
) -> "Iterator[BackupReadAhead]":
    """Begin to read. The thread has ended when the block is left.

    ``break_off`` ends a read that the thread may be in: the server can be silent for minutes.
    """
    stream = BackupReadAhead(backup)
    stream.thread.start()
    try:
        yield stream
    finally:
        stream.end(break_off)


class BackupReadAhead:
    """Implements `kb_dr.ports.BaseBackupStream`; raises what reading raised, once all before it
    was read.
    """

    def __init__(self, backup: BaseBackupStream) -> None:
        self._backup = backup
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(_PIECES)
        self._rest = b""
        self._is_over = False
        self._failure: BaseException | None = None
        self._unwanted = threading.Event()
        self.thread = threading.Thread(
            target=with_these_ids(self._read_all), name="base-backup", daemon=True
        )

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes."""
        piece = self._rest or self._next()
        if 0 <= size < len(piece):
            self._rest = piece[size:]
            return piece[:size]
        self._rest = b""
        return piece

    def finish(self) -> BaseBackupEnd:
        if not self._is_over:
            raise PostgresCommandFailed("run a base backup: it was not read to the end")
        self.thread.join()
        return self._backup.finish()

    def end(self, break_off: Callable[[], None]) -> None:
        """Read no more, and wait until nothing is being read."""
        self._unwanted.set()
        if not self._is_over:
            break_off()
        while self.thread.is_alive():
            self._make_room()
            self.thread.join(_LOOK_SECONDS)

    def _next(self) -> bytes:
        if self._is_over:
            return _OVER
        if self._failure is None:
            piece = self._pieces.get()
            if not isinstance(piece, BaseException):
                self._is_over = piece == _OVER
                return piece
            self._failure = piece
        raise self._failure

    def _read_all(self) -> None:
        try:
            while not self._unwanted.is_set():
                piece = self._backup.read(_PIECE_BYTES)
                self._pieces.put(piece)
                if piece == _OVER:
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by whoever reads
            self._pieces.put(error)

    def _make_room(self) -> None:
        """It may wait for a place for what nobody will read."""
        while True:
            try:
                self._pieces.get_nowait()
            except queue.Empty:
                return
