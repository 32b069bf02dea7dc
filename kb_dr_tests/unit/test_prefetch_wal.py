"""The prefetcher keeps checked segments ready, bounded, and never ends a recovery."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.listed_wal import StoredWal, list_wal
from kb_dr.operations.prefetch_wal import WalPrefetcher
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SYSTEM_IDENTIFIER, full_segments
from kb_dr_tests.stored_segments import repository_of

SEGMENTS = full_segments(1, 10)
NAMES = list(SEGMENTS)
DEADLINE_SECONDS = 60.0


@pytest.fixture
def repository(tmp_path: Path) -> MemoryRepository:
    return repository_of(SEGMENTS, tmp_path)


def prefetcher(
    repository: MemoryRepository, tmp_path: Path, segments: Iterator[StoredWal] | None = None
) -> WalPrefetcher:
    return WalPrefetcher(
        repository,
        PlainCodec(),
        tmp_path / "spool",
        segments or list_wal(repository, SYSTEM_IDENTIFIER),
        transfers=2,
        ahead=4,
    )


def wait_until_ready(spool: Path, names: list[str]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not all((spool / name).exists() for name in names):
        assert time.monotonic() < deadline, sorted(path.name for path in spool.iterdir())
        time.sleep(0.005)


def test_segments_are_ready_in_order_and_only_so_many(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    with prefetcher(repository, tmp_path) as running:
        for number, name in enumerate(NAMES):
            wait_until_ready(running.spool, [name])
            ready = [path for path in running.spool.iterdir() if not path.name.startswith(".")]
            assert len(ready) <= 4
            (running.spool / name).rename(tmp_path / "taken")
            assert (tmp_path / "taken").read_bytes() == SEGMENTS[name], number

    assert running.failure is None
    assert running.fetched_segments == 10
    assert not running.spool.exists()


def test_what_replay_passed_by_makes_room(repository: MemoryRepository, tmp_path: Path) -> None:
    with prefetcher(repository, tmp_path) as running:
        wait_until_ready(running.spool, NAMES[:4])
        (running.spool / NAMES[3]).unlink()
        wait_until_ready(running.spool, NAMES[4:8])

        assert not any((running.spool / name).exists() for name in NAMES[:3])


def test_trouble_stops_it_without_a_word_to_recovery(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    key = next(key for key in repository.bodies if NAMES[1] in key)
    repository.failures[key] = RepositoryUnavailable("down")

    with prefetcher(repository, tmp_path) as running:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while running.failure is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)

        assert not (running.spool / NAMES[1]).exists()
    assert isinstance(running.failure, RepositoryUnavailable)


def test_damaged_bytes_never_become_ready(repository: MemoryRepository, tmp_path: Path) -> None:
    key = next(key for key in repository.bodies if NAMES[0] in key)
    repository.bodies[key] = PlainCodec().encode(SEGMENTS[NAMES[1]])

    with prefetcher(repository, tmp_path) as running:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while running.failure is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)

        assert not (running.spool / NAMES[0]).exists()


def test_leaving_ends_its_threads(repository: MemoryRepository, tmp_path: Path) -> None:
    with prefetcher(repository, tmp_path) as running:
        wait_until_ready(running.spool, NAMES[:1])

    assert not [each for each in threading.enumerate() if each.name.startswith("wal-prefetch")]
