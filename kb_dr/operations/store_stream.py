"""Cut a stream into chunks and store them, a few at once, in bounded memory."""

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore

from kb_dr.domain.stored import StoredObject
from kb_dr.ports import Repository

DEFAULT_CHUNK_BYTES = 16 * 1024 * 1024
MOST_CHUNK_BYTES = 64 * 1024 * 1024


class ChunkWriter:
    """Implements `kb_dr.ports.Writable`; each chunk is one object, named by its number.

    At most ``uploads_in_parallel`` + 1 chunks are in memory: write() waits for a free place. The
    first upload that fails stops it: every later call raises that error. Use it in a ``with``:
    whatever happens, no upload runs once the block is left.
    """

    def __init__(
        self,
        repository: Repository,
        key_of: Callable[[int], str],
        chunk_bytes: int = DEFAULT_CHUNK_BYTES,
        uploads_in_parallel: int = 4,
        stored: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """``stored`` is told the bytes of each chunk that stands, from any thread."""
        if not 0 < chunk_bytes <= MOST_CHUNK_BYTES:
            raise ValueError(f"a chunk of {chunk_bytes} bytes, expected 1 to {MOST_CHUNK_BYTES}")
        self._repository = repository
        self._key_of = key_of
        self._chunk_bytes = chunk_bytes
        self._stored = stored
        self._places = BoundedSemaphore(uploads_in_parallel)
        self._pool = ThreadPoolExecutor(uploads_in_parallel, thread_name_prefix="chunk")
        self._buffer = io.BytesIO()
        self._uploads: list[Future[StoredObject]] = []
        self._failure: BaseException | None = None

    def __enter__(self) -> "ChunkWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        while view:
            if self._uploads and not self._buffer.tell():
                self._make_room()
            piece = view[: self._chunk_bytes - self._buffer.tell()]
            self._buffer.write(piece)
            view = view[len(piece) :]
            if self._buffer.tell() == self._chunk_bytes:
                self._send()
        return len(data)

    def flush(self) -> None:
        """Chunks go when they are full, and the last one at finish()."""

    def end(self) -> None:
        """The stream is over: send the rest, and do not wait for it. Write nothing after."""
        if self._buffer.tell() or not self._uploads:
            self._send()

    def finish(self) -> tuple[StoredObject, ...]:
        """Store the rest, wait for all, and return every chunk in order."""
        self.end()
        self._pool.shutdown(wait=True)
        self._raise_failure()
        return tuple(upload.result() for upload in self._uploads)

    def abort(self) -> None:
        """Start no more uploads and wait for those that run. What is stored stays."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _send(self) -> None:
        self._buffer.truncate()
        # getvalue() hands over the buffer itself; nothing is copied.
        body, self._buffer = self._buffer.getvalue(), io.BytesIO()
        self._places.acquire()
        try:
            self._raise_failure()
            key = self._key_of(len(self._uploads))
            self._uploads.append(self._pool.submit(self._upload, key, body))
        except BaseException:
            self._places.release()
            raise

    def _make_room(self) -> None:
        """Give the buffer of one more chunk its full size from the start.

        One that grows is another one in the end than that of the chunk before: each page of each
        chunk is then asked of the kernel anew.
        """
        self._buffer.seek(self._chunk_bytes - 1)
        self._buffer.write(b"\0")
        self._buffer.seek(0)

    def _upload(self, key: str, body: bytes) -> StoredObject:
        try:
            stored = self._repository.put(key, body)
        except BaseException as error:
            self._failure = self._failure or error
            raise
        finally:
            self._places.release()
        self._stored(len(body))
        return stored

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
