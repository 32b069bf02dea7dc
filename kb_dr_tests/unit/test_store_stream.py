"""A stream is stored in chunks, in order, in bounded memory; the first error stops it."""

import threading

import pytest

from kb_dr.domain.stored import StoredObject
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.store_stream import ChunkWriter
from kb_dr_tests.fakes import MemoryRepository


def key(number: int) -> str:
    return f"full/20261120-020000/a/base.tar.zst.age.{number:05d}"


def test_chunks_hold_the_stream_in_order_whatever_the_pieces() -> None:
    repository = MemoryRepository()
    content = bytes(range(256)) * 100

    with ChunkWriter(repository, key, 1000, 3) as writer:
        for start in range(0, len(content), 777):
            assert writer.write(content[start : start + 777]) == len(content[start : start + 777])
        stored = writer.finish()

    assert [each.key for each in stored] == [key(number) for number in range(26)]
    assert [each.size_bytes for each in stored] == [1000] * 25 + [600]
    assert b"".join(repository.bodies[each.key] for each in stored) == content


def test_an_empty_stream_is_one_empty_chunk() -> None:
    repository = MemoryRepository()

    with ChunkWriter(repository, key, 1000) as writer:
        stored = writer.finish()

    assert [each.size_bytes for each in stored] == [0]


def test_a_stream_of_whole_chunks_has_no_empty_one_at_its_end() -> None:
    with ChunkWriter(MemoryRepository(), key, 10) as writer:
        writer.write(b"x" * 20)

        assert [each.size_bytes for each in writer.finish()] == [10, 10]


def test_the_first_error_stops_the_stream() -> None:
    repository = MemoryRepository()
    repository.failures[key(2)] = RepositoryUnavailable("put: no answer")

    with (
        ChunkWriter(repository, key, 10, 1) as writer,
        pytest.raises(RepositoryUnavailable, match="no answer"),
    ):
        writer.write(b"x" * 1000)

    assert set(repository.bodies) == {key(0), key(1)}


def test_an_error_of_the_last_upload_is_raised_by_finish() -> None:
    repository = MemoryRepository()
    repository.failures[key(0)] = RepositoryUnavailable("put: no answer")

    with ChunkWriter(repository, key, 10) as writer:
        writer.write(b"x")
        with pytest.raises(RepositoryUnavailable):
            writer.finish()


class HeldRepository(MemoryRepository):
    """Uploads wait until they are let go; counts how many chunks are held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.all_busy = threading.Event()
        self._counting = threading.Lock()
        self._held = 0
        self.most = 0

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        with self._counting:
            self._held += 1
            self.most = max(self.most, self._held)
            if self._held == 2:
                self.all_busy.set()
        assert self.let_go.wait(60)
        try:
            return super().put(key, body)
        finally:
            with self._counting:
                self._held -= 1


def test_a_slow_store_holds_the_writer_back() -> None:
    repository = HeldRepository()
    written: list[int] = []

    def write() -> None:
        with ChunkWriter(repository, key, 10, 2) as writer:
            for number in range(10):
                writer.write(b"x" * 10)
                written.append(number)
            writer.finish()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert repository.all_busy.wait(60)
        assert len(written) <= 2
    finally:
        repository.let_go.set()
        thread.join()

    assert len(written) == 10
    assert repository.most == 2
    assert len(repository.bodies) == 10


def test_the_end_of_a_stream_waits_for_no_upload() -> None:
    repository = HeldRepository()

    with ChunkWriter(repository, key, 10, 2) as writer:
        writer.write(b"x" * 15)
        writer.end()
        assert repository.all_busy.wait(60)
        assert repository.bodies == {}
        repository.let_go.set()
        stored = writer.finish()

    assert [each.size_bytes for each in stored] == [10, 5]
    assert repository.bodies == {key(0): b"x" * 10, key(1): b"x" * 5}


def test_leaving_the_block_early_uploads_no_more() -> None:
    repository = MemoryRepository()

    with ChunkWriter(repository, key, 10) as writer:
        writer.write(b"x" * 5)

    assert repository.bodies == {}


@pytest.mark.parametrize("size", [0, 65 * 1024 * 1024])
def test_chunks_are_at_most_64_mib(size: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to"):
        ChunkWriter(MemoryRepository(), key, size)
