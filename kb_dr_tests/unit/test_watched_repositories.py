"""What a look reads of a repository: WAL that was called archived, and probes it wrote."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Outcome
from kb_dr.domain.wal_names import history_name
from kb_dr.errors import (
    ObjectRetained,
    RepositoryRefused,
)
from kb_dr.operations.arrived_wal import find_arrived
from kb_dr.operations.probe_repository import probe_repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_watch import ARCHIVER, FACTS
from kb_dr_tests.stored_backups import (
    STARTED,
    segment,
    store_wal,
)

P, F, C, N = Outcome.PASSED, Outcome.FAILED, Outcome.COULD_NOT_RUN, Outcome.NOT_APPLICABLE
CODEC = PlainCodec()


# --- WAL that was called archived ---------------------------------------------------------


def archive(*numbers: int, timeline: int = 1) -> MemoryRepository:
    repository = MemoryRepository()
    for number in numbers:
        store_wal(repository, CODEC, segment(number, timeline).name, b"wal")
    return repository


def test_the_first_hole_behind_the_newest_full_backup_is_found() -> None:
    repository = archive(2, 3, 4, 6, 7)

    found = find_arrived(repository, CODEC, FACTS, ARCHIVER, segment(2))
    behind = find_arrived(repository, CODEC, FACTS, ARCHIVER, segment(6))

    assert (found.last_stands, found.missing) == (False, segment(5))
    assert behind.missing == segment(8)
    assert find_arrived(repository, CODEC, FACTS, ARCHIVER, segment(9)).missing == segment(9)
    assert find_arrived(repository, CODEC, FACTS, ARCHIVER, None).missing is None


def test_an_empty_object_is_no_segment() -> None:
    repository = archive(8, 9)
    for key in repository.bodies:
        repository.bodies[key] = b""

    found = find_arrived(repository, CODEC, FACTS, ARCHIVER, segment(8))

    assert (found.last_stands, found.missing) == (False, segment(8))


def test_labels_and_histories_are_looked_for_by_their_own_names() -> None:
    label = f"{segment(3).name}.00000028.backup"
    repository = archive(2, 3)
    asked = replace(ARCHIVER, last_archived_wal=label)

    assert find_arrived(repository, CODEC, FACTS, asked, segment(2)).last_stands is False
    store_wal(repository, CODEC, label, b"label")
    found = find_arrived(repository, CODEC, FACTS, asked, segment(2))

    assert (found.last_stands, found.missing) == (True, segment(4))
    strange = replace(ARCHIVER, last_archived_wal="strange")
    assert find_arrived(repository, CODEC, FACTS, strange, segment(2)).last_stands is False


def test_the_line_is_followed_through_a_promotion() -> None:
    """Timeline 2 left 1 in segment 4: what 1 wrote from there on fills no hole of 2."""
    repository = archive(2, 3, 4, 5)
    promoted = replace(FACTS, timeline=2)
    without = find_arrived(repository, CODEC, promoted, ARCHIVER, segment(2))
    history = f"1\t{Lsn(segment(4).start + 0x100)}\tno recovery target specified\n"
    store_wal(repository, CODEC, history_name(2), history.encode())
    for number in (4, 6):
        store_wal(repository, CODEC, segment(number, 2).name, b"wal")

    found = find_arrived(repository, CODEC, promoted, ARCHIVER, segment(2))

    assert without.missing is None
    assert "no history" in without.problem
    assert found.missing == segment(5, 2)
    elsewhere = find_arrived(repository, CODEC, replace(FACTS, timeline=1), ARCHIVER, segment(2, 2))
    assert elsewhere.missing is None
    assert elsewhere.problem


# --- probes -------------------------------------------------------------------------------


def probes(repository: MemoryRepository) -> list[str]:
    return [key for key in sorted(repository.bodies) if key.startswith(layout.PROBES)]


def test_probes_are_few_and_old_ones_go() -> None:
    clock = FakeClock(STARTED + timedelta(minutes=14, seconds=59))
    repository = MemoryRepository("primary", clock)

    written = [probe_repository(repository, clock, "db 1").written_at]
    clock.sleep(1)
    for _ in range(15):
        written.append(probe_repository(repository, clock, "db 1").written_at)
        clock.sleep(59)
    probe_repository(repository, clock, "other")
    assert probes(repository) == [
        "probes/20261120-020000-db-1",
        "probes/20261120-021500-db-1",
        "probes/20261120-021500-other",
    ]
    assert set(written[1:]) == {STARTED + timedelta(minutes=15)}

    clock.sleep(24 * 3600)
    probe_repository(repository, clock, "other")
    assert probes(repository) == [
        "probes/20261120-021500-db-1",
        "probes/20261120-021500-other",
        "probes/20261121-021500-other",
    ]


def test_a_probe_that_a_clock_ahead_left_stands_for_no_write_of_now() -> None:
    of_the_store, of_the_host = FakeClock(STARTED), FakeClock(STARTED + timedelta(hours=2))
    repository = MemoryRepository("primary", of_the_store)
    probe_repository(repository, of_the_host, "h")
    of_the_store.pass_time(timedelta(hours=2))

    def refuse(key: str, body: bytes, *, digest: bool = True) -> None:
        raise RepositoryRefused(f"put {key}: read only")

    taken = probe_repository(repository, of_the_host, "h")
    assert taken.written_at == of_the_host.now()
    of_the_host.sleep(60)

    repository.put = refuse  # type: ignore[method-assign, assignment]  # a store that is read-only
    with pytest.raises(RepositoryRefused):
        probe_repository(repository, of_the_host, "h")


def test_a_probe_that_is_retained_stays_and_harms_nothing() -> None:
    clock = FakeClock()
    repository = MemoryRepository("primary", clock)
    probe_repository(repository, clock, "h")
    repository.retained[""] = STARTED + timedelta(days=90)
    clock.sleep(3 * 86400.0)

    probe_repository(repository, clock, "h")

    assert len(probes(repository)) == 2
    with pytest.raises(ObjectRetained):
        repository.delete(probes(repository)[0])
