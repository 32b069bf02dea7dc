"""Read one base backup: chunks ahead of the reader, in order, each held against its digest."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import ChecksumMismatch
from kb_dr.ports import Codec, Progress, Repository, Writable

CHUNKS_AHEAD = 4


def fetch_backup(
    repository: Repository,
    codec: Codec,
    manifest: Manifest,
    sink: Writable,
    *,
    progress: Progress,
    ahead: int = CHUNKS_AHEAD,
) -> None:
    """Write the tar of a base backup into ``sink``, decrypted and decompressed.

    Returns only when every byte was the one recorded: ObjectMissing or ChecksumMismatch
    otherwise, and then ``sink`` holds something to throw away. At most ``ahead`` + 1 chunks
    are in memory.
    """
    target = _Hashing(sink)
    progress.begin("fetch and unpack", manifest.stored_bytes)
    try:
        with _opened(repository, manifest.chunks, progress, ahead) as chunks:
            count = _decoded(repository, codec, manifest, chunks, target)
    finally:
        progress.end()
    digest = target.hexdigest()
    if (count, digest) != (manifest.plain_bytes, manifest.plain_sha256):
        raise ChecksumMismatch(
            f"read {manifest.id} from {repository.url}: {count} bytes with sha256 {digest[:12]}…, "
            f"expected {manifest.plain_bytes} bytes with {manifest.plain_sha256[:12]}…"
        )


def _decoded(
    repository: Repository,
    codec: Codec,
    manifest: Manifest,
    chunks: "_Chunks",
    target: "_Hashing",
) -> int:
    """Decode; damage that only decrypting finds is named by the chunk it was met in."""
    try:
        return codec.decode_stream(chunks, target)
    except ChecksumMismatch as error:
        if chunks.current is None or chunks.current.key in str(error):
            raise
        met = chunks.current
        if error.at_byte is not None:
            met = _chunk_at(manifest.chunks, error.at_byte)
        raise ChecksumMismatch(
            f"read {manifest.id} from {repository.url}: {error}, at or shortly before {met.key}"
        ) from error


def _chunk_at(chunks: tuple[StoredObject, ...], at_byte: int) -> StoredObject:
    end = 0
    for chunk in chunks:
        end += chunk.size_bytes
        if at_byte < end:
            return chunk
    return chunks[-1]


@contextmanager
def _opened(
    repository: Repository, chunks: tuple[StoredObject, ...], progress: Progress, ahead: int
) -> "Iterator[_Chunks]":
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="fetch")
    try:
        yield _Chunks(pool, repository, chunks, progress, ahead)
    finally:
        # A read changes nothing: one that hangs, or sits out an outage, keeps no error waiting.
        pool.shutdown(wait=False, cancel_futures=True)


class _Chunks:
    """The chunks as one stream."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        repository: Repository,
        chunks: tuple[StoredObject, ...],
        progress: Progress,
        ahead: int,
    ) -> None:
        self._pool = pool
        self._repository = repository
        self._to_ask = iter(chunks)
        self._progress = progress
        self._asked: deque[tuple[StoredObject, Future[bytes]]] = deque()
        self._rest = memoryview(b"")
        self.current: StoredObject | None = None
        """The chunk being read; None before the first."""
        for _ in range(ahead):
            self._ask()

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            if not self._asked:
                return b""
            # The old chunk is let go before the next one is waited for.
            self._rest = memoryview(b"")
            self.current, asked = self._asked.popleft()
            body = asked.result()
            del asked  # it holds the chunk
            self._progress.advance(len(body))
            self._rest = memoryview(body)
            self._ask()
        whole = self._rest.obj
        if (
            isinstance(whole, bytes)
            and len(whole) == len(self._rest)
            and not 0 <= size < len(whole)
        ):
            # Nothing of it was read yet: as it is, since a copy would be one of many MiB.
            self._rest = memoryview(b"")
            return whole
        end = len(self._rest) if size < 0 else size
        data = bytes(self._rest[:end])
        self._rest = self._rest[end:]
        return data

    def _ask(self) -> None:
        chunk = next(self._to_ask, None)
        if chunk is not None:
            self._asked.append((chunk, self._pool.submit(self._repository.get, chunk)))


class _Hashing:
    """Passes on what is written and takes its digest."""

    def __init__(self, inner: Writable) -> None:
        self._inner = inner
        self._state = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self._state.update(data)
        self._inner.write(data)
        return len(data)

    def flush(self) -> None:
        self._inner.flush()

    def hexdigest(self) -> str:
        return self._state.hexdigest()
