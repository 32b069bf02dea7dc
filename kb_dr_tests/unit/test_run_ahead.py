"""Who runs ahead of a recovery lays what follows ready, and stays no longer than it is needed."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from kb_dr.domain.layout import wal_key
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.run_ahead import MOST_BYTES, ask, run_ahead, segments_after
from kb_dr_tests.archived_cluster import WalStore
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SYSTEM_IDENTIFIER, full_segments
from kb_dr_tests.stored_segments import repository_of

SEGMENTS = full_segments(1, 30)
NAMES = list(SEGMENTS)
DEADLINE_SECONDS = 20.0


@pytest.fixture
def repository(tmp_path: Path) -> MemoryRepository:
    return repository_of(SEGMENTS, tmp_path)


def following(repository: MemoryRepository, name: str) -> list[str]:
    return [each.name for each in segments_after(repository, SYSTEM_IDENTIFIER, name)]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def running(
    repository: MemoryRepository, ahead: Path, name: str, *, segment_bytes: int = 1 << 20
) -> Iterator[threading.Event]:
    """Somebody runs ahead while the block does, and then until the event is set."""
    over = threading.Event()
    ahead.mkdir()

    def work() -> None:
        run_ahead(
            name,
            repository=repository,
            codec=PlainCodec(),
            system_identifier=SYSTEM_IDENTIFIER,
            ahead=ahead,
            transfers=2,
            segment_bytes=segment_bytes,
            wanted=lambda: not over.is_set(),
        )

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield over
    finally:
        over.set()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def test_what_follows_is_in_order(repository: MemoryRepository) -> None:
    assert following(repository, NAMES[3]) == NAMES[4:]
    assert following(repository, NAMES[-1]) == []


def test_nothing_beyond_a_segment_with_two_digests_follows(repository: MemoryRepository) -> None:
    """Nor that one: the fetch that comes to it by itself says what is wrong."""
    repository.bodies[wal_key(SYSTEM_IDENTIFIER, NAMES[5], "0" * 64)] = b"other"

    assert following(repository, NAMES[2]) == NAMES[3:5]


def test_nothing_beyond_an_empty_object_follows(repository: MemoryRepository) -> None:
    (key,) = (key for key in repository.bodies if NAMES[5] in key)
    repository.bodies[key] = b""

    assert following(repository, NAMES[2]) == NAMES[3:5]


def test_what_follows_lies_ready_and_goes_in_the_end(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    ahead = tmp_path / "ahead"
    with running(repository, ahead, NAMES[0]):
        until((ahead / "ready" / NAMES[1]).exists)
        assert (ahead / "ready" / NAMES[1]).read_bytes() == SEGMENTS[NAMES[1]]
        assert not (ahead / "ready" / NAMES[0]).exists()

    assert not (ahead / "ready").exists()


def test_it_begins_anew_where_it_is_asked_to(repository: MemoryRepository, tmp_path: Path) -> None:
    """Recovery leapt, or was started again farther back."""
    ahead = tmp_path / "ahead"
    with running(repository, ahead, NAMES[0]):
        until((ahead / "ready" / NAMES[1]).exists)
        ask(ahead, NAMES[24])
        until((ahead / "ready" / NAMES[25]).exists)
        assert not (ahead / "ready" / NAMES[1]).exists()
        ask(ahead, NAMES[4])
        until((ahead / "ready" / NAMES[5]).exists)


def test_what_replay_fetched_by_itself_is_not_kept(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    ahead = tmp_path / "ahead"
    with running(repository, ahead, NAMES[0]):
        until((ahead / "ready" / NAMES[16]).exists)
        assert not (ahead / "ready" / NAMES[17]).exists(), "only so many are held"
        ask(ahead, NAMES[3])
        until((ahead / "ready" / NAMES[17]).exists)
        until(lambda: not (ahead / "ready" / NAMES[3]).exists())
        assert (ahead / "ready" / NAMES[4]).exists()


def test_a_damaged_segment_is_never_laid_ready(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    ahead = tmp_path / "ahead"
    (key,) = (key for key in repository.bodies if NAMES[2] in key)
    (other,) = (key for key in repository.bodies if NAMES[3] in key)
    repository.bodies[key] = repository.bodies[other]
    with running(repository, ahead, NAMES[0]):
        until((ahead / "ready" / NAMES[1]).exists)
        until(lambda: not list((ahead / "ready").glob(".*.coming")))
        assert not (ahead / "ready" / NAMES[2]).exists()


@pytest.mark.parametrize("silent", ["read", "list"])
def test_a_store_that_does_not_answer_holds_nobody_up(
    repository: MemoryRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    """The process would keep its cluster's directory open, and go on to be taken for alive."""
    asked, answer = threading.Event(), threading.Event()

    def wait(*_: object, **__: object) -> NoReturn:
        asked.set()
        answer.wait()
        raise RepositoryUnavailable("late")

    monkeypatch.setattr(MemoryRepository, silent, wait)
    try:
        with running(repository, tmp_path / "ahead", NAMES[0]):
            assert asked.wait(DEADLINE_SECONDS)
        assert not (tmp_path / "ahead" / "ready").exists()
    finally:
        answer.set()


def test_larger_segments_are_held_in_no_more_room(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    ahead = tmp_path / "ahead"
    with running(repository, ahead, NAMES[0], segment_bytes=MOST_BYTES // 3):
        until((ahead / "ready" / NAMES[3]).exists)
        until(lambda: not list((ahead / "ready").glob(".*.coming")))
        assert not (ahead / "ready" / NAMES[4]).exists()


@pytest.fixture
def store(tmp_path: Path) -> WalStore:
    found = WalStore.make(tmp_path / "store")
    for name in NAMES[:3]:
        (tmp_path / name).write_bytes(SEGMENTS[name])
        subprocess.run(found.words("wal", "push", str(tmp_path / name)), check=True)
    return found


def fetch(store: WalStore, data: Path, name: str, *, pass_fds: Collection[int] = ()) -> Path:
    """Fetch as PostgreSQL does in its data directory; where who runs ahead lays things."""
    ahead = store.directory / "state" / "wal-fetch" / "x"
    words = ("--system-identifier", str(SYSTEM_IDENTIFIER), "--ahead", str(ahead))
    subprocess.run(
        store.words("wal", "fetch", *words, name, "out"), cwd=data, check=True, pass_fds=pass_fds
    )
    return ahead


def test_a_fetch_leaves_a_process_that_ends_with_its_server(
    store: WalStore, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n")

    ahead = fetch(store, data, NAMES[0])

    assert (data / "out").read_bytes() == SEGMENTS[NAMES[0]]
    until((ahead / "ready" / NAMES[2]).exists)
    pid, held, _ = (ahead / "alive").read_text().split()
    assert Path(f"/proc/{pid}/fd/{held}").samefile(data)
    (data / "postmaster.pid").unlink()
    until(lambda: not (ahead / "alive").exists() and not (ahead / "ready").exists())
    until(lambda: not Path(f"/proc/{pid}/fd/{held}").exists())


def test_it_keeps_nothing_open_of_the_server_that_asked(store: WalStore, tmp_path: Path) -> None:
    """Before 16 PostgreSQL hands its open files on to what it starts."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n")
    relation = os.open(tmp_path / "relation", os.O_CREAT | os.O_RDWR)

    ahead = fetch(store, data, NAMES[0], pass_fds=(relation,))

    os.close(relation)
    until((ahead / "ready" / NAMES[2]).exists)
    pid, _, _ = (ahead / "alive").read_text().split()
    opened = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()}
    (data / "postmaster.pid").unlink()
    until(lambda: not (ahead / "alive").exists())
    assert str(tmp_path / "relation") not in opened


def test_a_fetch_where_no_server_runs_leaves_nothing(store: WalStore, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()

    assert not fetch(store, data, NAMES[0]).exists()
