"""A push succeeds only when the segment is stored; what was stored once is never replaced."""

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.domain.layout import wal_key
from kb_dr.domain.stored import StoredObject
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import (
    ChecksumMismatch,
    ConfigurationError,
    ObjectConflict,
    RepositoryUnavailable,
    WalDamaged,
    WrongCluster,
)
from kb_dr.operations.archive_wal import Pushed, archive_wal, push_file
from kb_dr.operations.listed_wal import find_wal
from kb_dr.operations.push_notes import FileState, PushNotes
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, full_segments

NAMES = [Segment(1, number, SEGMENT_BYTES).name for number in range(1, 6)]
SEGMENTS = full_segments(1, 5)


@pytest.fixture
def pg_wal(tmp_path: Path) -> Path:
    """A pg_wal with five segments, all ready."""
    directory = tmp_path / "data" / "pg_wal"
    (directory / "archive_status").mkdir(parents=True)
    for name, content in SEGMENTS.items():
        (directory / name).write_bytes(content)
        (directory / "archive_status" / f"{name}.ready").touch()
    return directory


@pytest.fixture
def repository() -> MemoryRepository:
    return MemoryRepository()


def push(path: Path, repository: MemoryRepository) -> Pushed:
    return push_file(
        path, repository=repository, codec=PlainCodec(), system_identifier=SYSTEM_IDENTIFIER
    )


def names_in(repository: MemoryRepository) -> list[str]:
    return sorted(key.split("/")[-1][:24] for key in repository.bodies)


def test_what_was_pushed_stands_under_its_digest(
    pg_wal: Path, repository: MemoryRepository
) -> None:
    pushed = push(pg_wal / NAMES[0], repository)

    assert pushed.key == wal_key(SYSTEM_IDENTIFIER, NAMES[0], pushed.sha256)
    assert PlainCodec().decode(repository.bodies[pushed.key]) == SEGMENTS[NAMES[0]]


def test_pushing_again_after_a_lost_answer_succeeds(
    pg_wal: Path, repository: MemoryRepository
) -> None:
    first = push(pg_wal / NAMES[0], repository)
    again = push(pg_wal / NAMES[0], repository)

    assert (again.key, again.already_there) == (first.key, True)
    assert len(repository.bodies) == 1


def test_other_bytes_for_a_stored_segment_are_refused(
    pg_wal: Path, repository: MemoryRepository
) -> None:
    push(pg_wal / NAMES[0], repository)
    changed = bytearray(SEGMENTS[NAMES[0]])
    changed[500] ^= 1
    (pg_wal / NAMES[0]).write_bytes(changed)

    with pytest.raises(ObjectConflict, match="other bytes are stored"):
        push(pg_wal / NAMES[0], repository)

    assert len(repository.bodies) == 1


def test_an_empty_object_left_behind_is_not_taken_for_the_segment(
    pg_wal: Path, repository: MemoryRepository
) -> None:
    key = push(pg_wal / NAMES[0], repository).key
    repository.bodies[key] = b""

    with pytest.raises(ChecksumMismatch, match="zero bytes"):
        push(pg_wal / NAMES[0], repository)


def test_somebody_who_stored_the_same_bytes_first_is_no_conflict(
    pg_wal: Path, repository: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pushes of one segment at once: encrypted bytes differ, plain ones do not."""

    def raced(key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        repository.bodies[key] = PlainCodec().encode(SEGMENTS[NAMES[0]])
        raise ObjectConflict(f"put {key}: other bytes stand there already")

    monkeypatch.setattr(repository, "put", raced)

    assert push(pg_wal / NAMES[0], repository).already_there


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", WalDamaged),
        (SEGMENTS[NAMES[0]][:8192], WalDamaged),
        (SEGMENTS[NAMES[1]], WalDamaged),
        (full_segments(1, 1, system_identifier=5)[NAMES[0]], WrongCluster),
    ],
)
def test_what_is_not_this_segment_is_never_stored(
    pg_wal: Path, repository: MemoryRepository, content: bytes, error: type[Exception]
) -> None:
    (pg_wal / NAMES[0]).write_bytes(content)

    with pytest.raises(error):
        push(pg_wal / NAMES[0], repository)

    assert not repository.bodies


@pytest.mark.parametrize(
    "name", ["00000002.history", f"{NAMES[0]}.00000028.backup", f"{NAMES[0]}.partial"]
)
def test_histories_labels_and_partials_are_stored_as_they_are(
    pg_wal: Path, repository: MemoryRepository, name: str
) -> None:
    content = SEGMENTS[NAMES[0]] if name.endswith("partial") else b"1\t0/3000000\tno target\n"
    (pg_wal / name).write_bytes(content)

    assert PlainCodec().decode(repository.bodies[push(pg_wal / name, repository).key]) == content


def test_the_history_of_a_timeline_goes_before_its_first_segment(
    pg_wal: Path, repository: MemoryRepository
) -> None:
    name = Segment(2, 4, SEGMENT_BYTES).name
    (pg_wal / name).write_bytes(full_segments(4, 1, timeline=2)[name])
    (pg_wal / "00000002.history").write_bytes(b"1\t0/3000000\tno recovery target specified\n")

    archive_wal(
        pg_wal / name,
        repository=repository,
        codec=PlainCodec(),
        system_identifier=SYSTEM_IDENTIFIER,
    )

    assert [key.split("/")[-1].split("-")[0] for key in repository.bodies] == [
        "00000002.history",
        name,
    ]


def test_a_file_that_is_no_wal_is_refused(pg_wal: Path, repository: MemoryRepository) -> None:
    (pg_wal / "notes.txt").write_text("x")

    with pytest.raises(ConfigurationError):
        push(pg_wal / "notes.txt", repository)


def test_a_store_that_does_not_answer_fails_the_push(
    pg_wal: Path, repository: MemoryRepository
) -> None:
    repository.failures[""] = RepositoryUnavailable("down")

    with pytest.raises(RepositoryUnavailable):
        push(pg_wal / NAMES[0], repository)


class _Ahead:
    """Pushes with notes."""

    def __init__(self, directory: Path, repository: MemoryRepository) -> None:
        self.clock = FakeClock()
        self.repository = repository
        self.notes = PushNotes(directory / "notes", repository.url, self.clock)

    def push(self, path: Path) -> Pushed:
        return archive_wal(
            path,
            repository=self.repository,
            codec=PlainCodec(),
            system_identifier=SYSTEM_IDENTIFIER,
            notes=self.notes,
        )


@pytest.fixture
def ahead(tmp_path: Path, repository: MemoryRepository) -> _Ahead:
    return _Ahead(tmp_path, repository)


def test_one_call_takes_the_other_ready_segments_along(pg_wal: Path, ahead: _Ahead) -> None:
    ahead.push(pg_wal / NAMES[0])

    assert names_in(ahead.repository) == NAMES


def test_a_segment_pushed_ahead_needs_no_store_at_its_turn(pg_wal: Path, ahead: _Ahead) -> None:
    ahead.push(pg_wal / NAMES[0])
    ahead.repository.failures[""] = RepositoryUnavailable("down")

    assert ahead.push(pg_wal / NAMES[1]).already_there
    with pytest.raises(RepositoryUnavailable):
        ahead.push(pg_wal / NAMES[1])  # a note is believed once


def test_a_note_is_not_believed_of_a_file_that_changed(pg_wal: Path, ahead: _Ahead) -> None:
    """Also when nothing but its bytes changed."""
    ahead.push(pg_wal / NAMES[0])
    path = pg_wal / NAMES[1]
    before = path.stat()
    changed = bytearray(SEGMENTS[NAMES[1]])
    changed[500] ^= 1
    with path.open("r+b") as file:
        file.write(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ObjectConflict):
        ahead.push(path)


def test_a_note_is_not_believed_for_ever_or_for_another_repository(
    pg_wal: Path, ahead: _Ahead, tmp_path: Path
) -> None:
    ahead.push(pg_wal / NAMES[0])
    other = _Ahead(tmp_path, MemoryRepository("another"))

    assert not other.push(pg_wal / NAMES[1]).already_there

    ahead.clock.pass_time(timedelta(hours=2))
    ahead.repository.failures[""] = RepositoryUnavailable("down")
    with pytest.raises(RepositoryUnavailable):
        ahead.push(pg_wal / NAMES[2])


def test_trouble_with_another_segment_is_told_at_its_own_turn(pg_wal: Path, ahead: _Ahead) -> None:
    (pg_wal / NAMES[2]).write_bytes(b"")

    ahead.push(pg_wal / NAMES[0])

    assert names_in(ahead.repository) == [NAMES[0], NAMES[1], NAMES[3], NAMES[4]]
    with pytest.raises(WalDamaged):
        ahead.push(pg_wal / NAMES[2])


def test_where_no_note_can_be_written_nothing_is_pushed_ahead_at_each_call(
    pg_wal: Path, ahead: _Ahead, tmp_path: Path
) -> None:
    """Each call would read and look at all of them again: the disk is full, or another user's."""
    (tmp_path / "a file").touch()

    archive_wal(
        pg_wal / NAMES[0],
        repository=ahead.repository,
        codec=PlainCodec(),
        system_identifier=SYSTEM_IDENTIFIER,
        notes=PushNotes(tmp_path / "a file" / "notes", "place", FakeClock()),
    )

    assert names_in(ahead.repository) == NAMES[:1]


def test_what_another_server_stored_meanwhile_leaves_no_note(
    pg_wal: Path, ahead: _Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when we looked; the turn of the segment tells that two digests stand."""
    put = ahead.repository.put

    def beside_another(key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        if NAMES[2] in key:
            other = wal_key(SYSTEM_IDENTIFIER, NAMES[2], "0" * 64)
            ahead.repository.bodies[other] = b"of another server"
        return put(key, body, digest=digest)

    monkeypatch.setattr(ahead.repository, "put", beside_another)
    ahead.push(pg_wal / NAMES[0])

    assert not ahead.notes.exists(NAMES[2])
    assert ahead.notes.exists(NAMES[1])
    assert ahead.notes.exists(NAMES[3])
    with pytest.raises(ObjectConflict):
        ahead.push(pg_wal / NAMES[2])


def test_other_bytes_that_stand_already_are_told_at_their_turn(pg_wal: Path, ahead: _Ahead) -> None:
    other = wal_key(SYSTEM_IDENTIFIER, NAMES[3], "0" * 64)
    ahead.repository.bodies[other] = b"of another server"

    ahead.push(pg_wal / NAMES[0])

    assert [key for key in ahead.repository.bodies if NAMES[3] in key] == [other]
    assert not ahead.notes.exists(NAMES[3])
    with pytest.raises(ObjectConflict):
        ahead.push(pg_wal / NAMES[3])


def test_segments_pushed_ahead_share_what_is_asked_of_the_store(
    pg_wal: Path, ahead: _Ahead
) -> None:
    counting = CountingRepository(ahead.repository)

    archive_wal(
        pg_wal / NAMES[0],
        repository=counting,
        codec=PlainCodec(),
        system_identifier=SYSTEM_IDENTIFIER,
        notes=ahead.notes,
    )

    # One for the segment of this turn, one before all others, one behind.
    assert counting.calls["list"] == 3
    assert counting.calls["check"] == 0
    assert counting.calls["put"] == len(NAMES)


def test_processes_push_ahead_as_threads_do(
    pg_wal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one of them cannot push stays for its own turn, and is noted by nobody."""
    monkeypatch.setattr("kb_dr.operations.archive_wal.may_spread", lambda: True)
    (tmp_path / "repository").mkdir()
    repository = DirectoryRepository(tmp_path / "repository", "primary")
    notes = PushNotes(tmp_path / "notes", repository.url, FakeClock())
    (pg_wal / NAMES[2]).write_bytes(bytes(1 << 20))

    archive_wal(
        pg_wal / NAMES[0],
        repository=repository,
        codec=PlainCodec(),
        system_identifier=SYSTEM_IDENTIFIER,
        notes=notes,
        processes=2,
    )

    there = [name for name in NAMES if name != NAMES[2]]
    assert all(find_wal(repository, SYSTEM_IDENTIFIER, name) is not None for name in there)
    assert find_wal(repository, SYSTEM_IDENTIFIER, NAMES[2]) is None
    assert [name for name in NAMES if notes.exists(name)] == there[1:]
    for name in there[1:]:
        note = notes.take(name)
        assert note is not None
        assert note.sha256 == hashlib.sha256(SEGMENTS[name]).hexdigest()
        assert note.state == str(FileState.of(pg_wal / name))


@pytest.mark.parametrize("trouble", [RuntimeError("can't start new thread"), MemoryError()])
def test_what_is_asked_for_is_archived_though_nothing_can_be_pushed_ahead(
    pg_wal: Path, ahead: _Ahead, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """Told otherwise, the server would ask for the same segment for ever."""

    def refused(*_: object) -> None:
        raise trouble

    monkeypatch.setattr("kb_dr.operations.archive_wal._all_pushed", refused)

    ahead.push(pg_wal / NAMES[0])

    assert find_wal(ahead.repository, SYSTEM_IDENTIFIER, NAMES[0]) is not None
    assert find_wal(ahead.repository, SYSTEM_IDENTIFIER, NAMES[1]) is None
