"""Join what writes into a stream with what reads from one, in bounded memory."""

from collections.abc import Callable
from queue import Full, Queue
from threading import Event, Thread
from types import TracebackType
from typing import Self

from kb_dr.ports import Writable

_PIECES = 16
_LOOK_SECONDS = 0.1


class StreamPipe:
    """Implements `kb_dr.ports.Readable`; ``fill`` writes the other end, in a thread of its own.

    What ``fill`` raises is raised by read(), in the place of the end: a stream that broke off is
    never taken for a whole one. Use it in a ``with``: the thread is over when the block is left.
    """

    def __init__(self, fill: Callable[[Writable], None]) -> None:
        self._pieces: Queue[bytes | BaseException | None] = Queue(_PIECES)
        self._stopped = Event()
        self._rest = b""
        self._end: BaseException | None = None
        self._over = False
        self._thread = Thread(target=self._run, args=(fill,), name="pipe", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; empty only when ``fill`` has returned."""
        while not self._rest and not self._over:
            piece = self._pieces.get()
            if isinstance(piece, bytes):
                self._rest = piece
            else:
                self._over, self._end = True, piece
        if self._over and self._end is not None:
            raise self._end
        end = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:end], self._rest[end:]
        return data

    def write(self, data: bytes, /) -> int:
        """Called by ``fill``; waits for the reader."""
        if data:
            self._put(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def _run(self, fill: Callable[[Writable], None]) -> None:
        try:
            fill(self)
        except _ReaderGone:
            return
        except BaseException as error:  # noqa: BLE001 - it is raised where the stream is read
            self._put_end(error)
        else:
            self._put_end(None)

    def _put(self, piece: bytes | BaseException | None) -> None:
        while True:
            if self._stopped.is_set():
                raise _ReaderGone
            try:
                self._pieces.put(piece, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return

    def _put_end(self, end: BaseException | None) -> None:
        try:
            self._put(end)
        except _ReaderGone:
            return


class _ReaderGone(Exception):
    """Nobody reads any more."""
