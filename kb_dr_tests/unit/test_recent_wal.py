"""WAL from some segment on is told as a look at the whole archive tells it, from fewer keys."""

import random

import pytest

from kb_dr.domain import layout
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_archive import WalArchive
from kb_dr.domain.wal_names import history_name
from kb_dr.errors import ObjectConflict
from kb_dr.operations.listed_wal import load_lineages, read_archive
from kb_dr.operations.recent_wal import read_recent_wal
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment, store_wal

CODEC = PlainCodec()


def put(repository: MemoryRepository, number: int, timeline: int = 1, digest: str = "a") -> None:
    key = layout.wal_key(SYSTEM, segment(number, timeline).name, digest * 64)
    repository.bodies[key] = b"x" * 300


def ship(repository: MemoryRepository, number: int, timeline: int = 1) -> None:
    upto = Lsn(segment(number, timeline).start + 4096)
    key = layout.partial_key(SYSTEM, segment(number, timeline).name, upto)
    repository.bodies[key] = b"x" * 300


def fork(repository: MemoryRepository, timeline: int, number: int) -> None:
    text = f"1\t{segment(number).start}\tno reason\n".encode()
    store_wal(repository, CODEC, history_name(timeline), text)


def archive_from(repository: MemoryRepository, first: int) -> WalArchive:
    """The whole archive, cut as a look from ``first`` on is."""
    cut = MemoryRepository()
    for key, body in repository.bodies.items():
        file, partial = layout.wal_file_of(key), layout.partial_of(key)
        name = file[1] if file else partial[1] if partial else ""
        if "history" in name or (name and int(name[8:], 16) >= int(segment(first).name[8:], 16)):
            cut.bodies[key] = body
    return read_archive(cut, CODEC, SYSTEM, SEGMENT_BYTES)


@pytest.mark.parametrize("seed", range(40))
def test_it_tells_what_the_whole_archive_tells(seed: int) -> None:
    chance, repository = random.Random(seed), MemoryRepository()
    for timeline in (1, 2, 3, 5):
        if timeline > 1 and chance.random() < 0.3:
            continue
        if timeline > 1 and chance.random() < 0.8:
            fork(repository, timeline, 20)
        for number in range(chance.choice([2, 20]), chance.choice([21, 60])):
            if chance.random() < 0.95:
                put(repository, number, timeline)
            if chance.random() < 0.05:
                put(repository, number, timeline, "b")
            if chance.random() < 0.1:
                ship(repository, number, timeline)
    repository.bodies[f"{layout.timeline_prefix(SYSTEM, 2)}0000000.odd"] = b""
    first = chance.choice([2, 10, 30, 59])

    seen = read_recent_wal(repository, CODEC, SYSTEM, segment(first))

    assert seen.archive.timelines == archive_from(repository, first).timelines
    assert seen.lineages == load_lineages(repository, CODEC, SYSTEM)
    for each, stored in seen.newest.items():
        assert stored.name == each.name
        assert seen.archive.holds(each)


def test_older_segments_are_not_listed_on_any_timeline() -> None:
    repository = MemoryRepository()
    for timeline in (1, 2, 3):
        for number in range(2, 5000):
            put(repository, number, timeline)
    fork(repository, 2, 2)
    fork(repository, 3, 2)
    counting = CountingRepository(repository)

    read_recent_wal(counting, CODEC, SYSTEM, segment(4990))

    # Ten of each timeline; a history and one old segment where a timeline is entered.
    assert counting.calls["keys"] == 3 * 10 + 2 * 2
    assert counting.calls["list"] == 3


def test_a_timeline_of_which_only_a_part_was_shipped_is_known() -> None:
    repository = MemoryRepository()
    put(repository, 19)
    fork(repository, 2, 20)
    ship(repository, 20, 2)

    assert read_recent_wal(repository, CODEC, SYSTEM, segment(19)).shipped == {2}
    put(repository, 20, 2)
    assert read_recent_wal(repository, CODEC, SYSTEM, segment(19)).shipped == frozenset()


def test_a_history_with_two_digests_is_refused() -> None:
    repository = MemoryRepository()
    fork(repository, 2, 20)
    fork(repository, 2, 21)

    with pytest.raises(ObjectConflict):
        read_recent_wal(repository, CODEC, SYSTEM, segment(30))
