"""What comes out of a repository is the tar that went in, or an error."""

import hashlib
import io
import threading
from dataclasses import replace

import pytest

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import ChecksumMismatch, ObjectMissing
from kb_dr.operations.fetch_backup import fetch_backup
from kb_dr.ports import Readable, Writable
from kb_dr_tests.fakes import MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.stored_backups import store_objects

PLAIN = b"the tar of a base backup" * 100
CODEC = PlainCodec()


def _stored(repository: MemoryRepository, chunk_bytes: int = 100) -> Manifest:
    coded = CODEC.encode(PLAIN)
    chunks = tuple(
        repository.put(f"chunk.{number:05d}", coded[start : start + chunk_bytes])
        for number, start in enumerate(range(0, len(coded), chunk_bytes))
    )
    return replace(
        store_objects(repository),
        chunks=chunks,
        plain_bytes=len(PLAIN),
        plain_sha256=hashlib.sha256(PLAIN).hexdigest(),
    )


def _fetched(repository: MemoryRepository, manifest: Manifest) -> bytes:
    sink = io.BytesIO()
    fetch_backup(repository, CODEC, manifest, sink, progress=RecordingProgress())
    return sink.getvalue()


def test_chunks_come_in_their_order() -> None:
    repository = MemoryRepository()

    assert _fetched(repository, _stored(repository)) == PLAIN


def test_progress_counts_what_was_read() -> None:
    repository, progress = MemoryRepository(), RecordingProgress()
    manifest = _stored(repository)

    fetch_backup(repository, CODEC, manifest, io.BytesIO(), progress=progress)

    assert sum(progress.done) == manifest.stored_bytes
    assert progress.ended == 1


def test_damage_that_no_digest_shows_is_named_by_its_chunk() -> None:
    repository = MemoryRepository()
    manifest = _stored(repository, chunk_bytes=1_000_000)
    (chunk,) = manifest.chunks
    forged = bytearray(repository.bodies.pop(chunk.key))
    forged[500] ^= 1
    manifest = replace(manifest, chunks=(repository.put(chunk.key, bytes(forged)),))

    with pytest.raises(ChecksumMismatch, match=f"damaged, at or shortly before {chunk.key}"):
        _fetched(repository, manifest)


@pytest.mark.parametrize(("at_byte", "number"), [(0, 0), (99, 0), (100, 1), (1_000_000, -1)])
def test_damage_met_behind_what_was_read_is_named_by_the_chunk_it_is_in(
    at_byte: int, number: int
) -> None:
    class _ReadsAhead(PlainCodec):
        def decode_stream(self, coded: Readable, sink: Writable) -> int:
            while coded.read(64):
                pass
            error = ChecksumMismatch("decrypt a stream: damaged")
            error.at_byte = at_byte
            raise error

    repository = MemoryRepository()
    manifest = _stored(repository)

    with pytest.raises(ChecksumMismatch, match=f"before {manifest.chunks[number].key}"):
        fetch_backup(
            repository, _ReadsAhead(), manifest, io.BytesIO(), progress=RecordingProgress()
        )


@pytest.mark.parametrize("chunk", [0, 7, -1])
def test_a_missing_chunk_is_never_passed_over(chunk: int) -> None:
    repository = MemoryRepository()
    manifest = _stored(repository)
    repository.delete(manifest.chunks[chunk].key)

    with pytest.raises(ObjectMissing):
        _fetched(repository, manifest)


def test_a_manifest_without_its_last_chunk_is_no_shorter_backup() -> None:
    repository = MemoryRepository()
    manifest = _stored(repository)

    with pytest.raises(ChecksumMismatch):
        _fetched(repository, replace(manifest, chunks=manifest.chunks[:-1]))


@pytest.mark.parametrize(
    "wrong", [{"plain_sha256": "0" * 64}, {"plain_bytes": len(PLAIN) + 1}], ids=["digest", "length"]
)
def test_another_tar_than_the_one_recorded_is_refused(wrong: dict[str, str]) -> None:
    """Every chunk may be sound and the whole still be another: an age file opens for anyone."""
    repository = MemoryRepository()
    manifest = replace(_stored(repository), **wrong)  # type: ignore[arg-type]  # either field

    with pytest.raises(ChecksumMismatch, match="expected"):
        _fetched(repository, manifest)


class _Counting(MemoryRepository):
    """Knows how many chunks were asked for and not yet taken."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self._counting = threading.Lock()

    def get(self, stored: StoredObject) -> bytes:
        with self._counting:
            self.asked += 1
        return super().get(stored)


def test_no_more_chunks_are_read_than_it_may_hold() -> None:
    repository = _Counting()
    manifest = _stored(repository)
    taken: list[int] = []

    class _Watching(PlainCodec):
        def decode_stream(self, coded: Readable, sink: Writable) -> int:
            first = coded.read(1)
            taken.append(repository.asked)
            rest = b"".join(iter(lambda: coded.read(64), b""))
            body = self.decode(first + rest)
            sink.write(body)
            return len(body)

    fetch_backup(
        repository,
        _Watching(),
        manifest,
        io.BytesIO(),
        progress=RecordingProgress(),
        ahead=3,
    )

    assert len(manifest.chunks) > 10
    assert 1 <= taken[0] <= 4, "three ahead of the one being read"
