"""Fetch says "absent" only of what is certainly absent, and writes only what is whole."""

from pathlib import Path

import pytest

from kb_dr.domain.layout import MARKER, wal_key
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import (
    BucketMissing,
    ChecksumMismatch,
    ConfigurationError,
    KbDrError,
    ObjectConflict,
    ObjectMissing,
    RepositoryError,
    RepositoryUnavailable,
    WalGap,
    WrongRepository,
)
from kb_dr.operations.archive_wal import push_file
from kb_dr.operations.fetch_wal import ExpectedEnd, fetch_wal
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, full_segments

SEGMENTS = full_segments(1, 3)
NAMES = list(SEGMENTS)
NEXT = Segment(1, 4, SEGMENT_BYTES).name


@pytest.fixture
def repository(tmp_path: Path) -> MemoryRepository:
    """Three segments of one cluster."""
    found = MemoryRepository()
    found.put(MARKER, b"{}")
    for name, content in SEGMENTS.items():
        path = tmp_path / name
        path.write_bytes(content)
        push_file(path, repository=found, codec=PlainCodec(), system_identifier=SYSTEM_IDENTIFIER)
    return found


def fetch(
    repository: MemoryRepository, tmp_path: Path, name: str, expected: ExpectedEnd | None = None
) -> bool:
    return fetch_wal(
        name,
        tmp_path / "RECOVERYXLOG",
        repository=repository,
        codec=PlainCodec(),
        system_identifier=SYSTEM_IDENTIFIER,
        expected_end=expected,
    )


def key_of(repository: MemoryRepository, name: str) -> str:
    return next(key for key in repository.bodies if f"/{name}-" in key)


def test_a_stored_segment_is_fetched_whole(repository: MemoryRepository, tmp_path: Path) -> None:
    assert fetch(repository, tmp_path, NAMES[1])
    assert (tmp_path / "RECOVERYXLOG").read_bytes() == SEGMENTS[NAMES[1]]


def test_what_is_not_stored_is_absent(repository: MemoryRepository, tmp_path: Path) -> None:
    assert not fetch(repository, tmp_path, NEXT)
    assert not fetch(repository, tmp_path, "00000002.history")
    assert not (tmp_path / "RECOVERYXLOG").exists()


def test_below_the_expected_end_nothing_is_absent(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    end = ExpectedEnd(1, Lsn(4 * SEGMENT_BYTES), SEGMENT_BYTES)
    further = ExpectedEnd(1, Lsn(4 * SEGMENT_BYTES + 1), SEGMENT_BYTES)

    assert not fetch(repository, tmp_path, NEXT, end), "recovery comes to its end without it"
    with pytest.raises(WalGap, match="absent"):
        fetch(repository, tmp_path, NEXT, further)


def test_the_history_of_the_expected_timeline_is_needed(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    end = ExpectedEnd(2, Lsn(4 * SEGMENT_BYTES), SEGMENT_BYTES)

    with pytest.raises(WalGap):
        fetch(repository, tmp_path, "00000002.history", end)
    assert not fetch(repository, tmp_path, "00000003.history", end)
    assert not fetch(repository, tmp_path, f"00000003{NEXT[8:]}", end)


@pytest.mark.parametrize("failure", [RepositoryUnavailable("down"), BucketMissing("gone")])
def test_a_store_that_cannot_tell_does_not_say_absent(
    repository: MemoryRepository, tmp_path: Path, failure: KbDrError
) -> None:
    repository.failures[""] = failure

    with pytest.raises(type(failure)):
        fetch(repository, tmp_path, NEXT)


def test_a_place_without_a_marker_does_not_say_absent(tmp_path: Path) -> None:
    with pytest.raises(WrongRepository):
        fetch(MemoryRepository(), tmp_path, NEXT)


def test_listed_and_then_gone_is_not_absent(repository: MemoryRepository, tmp_path: Path) -> None:
    repository.failures[key_of(repository, NAMES[1])] = ObjectMissing("gone")

    with pytest.raises(RepositoryError, match="was listed") as caught:
        fetch(repository, tmp_path, NAMES[1])
    assert not isinstance(caught.value, ObjectMissing)


def test_two_digests_are_refused(repository: MemoryRepository, tmp_path: Path) -> None:
    repository.put(wal_key(SYSTEM_IDENTIFIER, NAMES[1], "0" * 64), b"another")

    with pytest.raises(ObjectConflict, match="2 digests"):
        fetch(repository, tmp_path, NAMES[1])


def test_other_bytes_than_were_pushed_are_refused(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    repository.bodies[key_of(repository, NAMES[1])] = PlainCodec().encode(SEGMENTS[NAMES[0]])

    with pytest.raises(ChecksumMismatch):
        fetch(repository, tmp_path, NAMES[1])
    assert not (tmp_path / "RECOVERYXLOG").exists()


def test_no_part_of_a_file_is_left_when_it_cannot_be_written(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    (tmp_path / "RECOVERYXLOG").mkdir()

    with pytest.raises(OSError, match="directory"):
        fetch(repository, tmp_path, NAMES[1])
    assert not list(tmp_path.glob(".*"))


def test_a_name_that_is_no_wal_file_is_no_absence(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError):
        fetch(repository, tmp_path, "../postgresql.conf")
