"""Backups are listed by their keys, the newest first and no farther than they are asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.operations import listed_backups as listed_module
from kb_dr.operations.listed_backups import list_backups, newest_first
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.fakes import MemoryRepository

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
FULL, INCR = BackupKind.FULL, BackupKind.INCR


def made(*ages: timedelta, kind: BackupKind = FULL) -> MemoryRepository:
    repository = MemoryRepository()
    for age in ages:
        add(repository, NOW - age, kind)
    return repository


def add(repository: MemoryRepository, started: datetime, kind: BackupKind, chunks: int = 2) -> None:
    backup = BackupId.of("kb", kind, started)
    for number in range(chunks):
        repository.put(layout.chunk_key(backup, "a1", number), b"")
    repository.put(layout.manifest_key(backup), b"m")


def days(*counts: float) -> list[timedelta]:
    return [timedelta(days=count) for count in counts]


def stamps(ages: list[timedelta]) -> list[str]:
    return [f"{NOW - age:%Y%m%d-%H%M%S}" for age in ages]


def test_the_newest_comes_first_over_all_kinds_and_stretches() -> None:
    ages = days(0.1, 1, 3, 9, 40, 200, 900, 9000)
    repository = made(*ages)
    add(repository, NOW - timedelta(days=2.5), INCR)

    found = [each.stamp for each in newest_first(repository, NOW)]

    assert found == stamps(sorted([*ages, timedelta(days=2.5)]))
    assert found == [each.stamp for each in newest_first(repository)]


def test_old_backups_are_not_listed_before_they_are_asked_for() -> None:
    counting = CountingRepository(made(*days(0.5, 1, *range(10, 2000))))

    walk = newest_first(counting, NOW)
    first, second = next(walk), next(walk)

    assert [first.stamp, second.stamp] == stamps(days(0.5, 1))
    assert counting.calls["keys"] == 6


@pytest.mark.parametrize("clock", [timedelta(days=-400), timedelta(days=400), timedelta(-18000)])
def test_a_clock_that_is_wrong_hides_no_backup(clock: timedelta) -> None:
    ages = days(-300, -1, 0, 1, 100)

    found = [each.stamp for each in newest_first(made(*ages), NOW + clock)]

    assert found == stamps(sorted(ages))


def test_thousands_of_backups_in_one_day_are_all_there() -> None:
    repository = made(*(timedelta(seconds=30 * number) for number in range(2500)))

    found = [each.stamp for each in newest_first(repository, NOW)]

    assert len(found) == 2500
    assert found == sorted(found, reverse=True)


def test_an_attempt_without_a_manifest_is_no_backup_and_costs_no_read() -> None:
    repository = made(*days(1, 2))
    unfinished = BackupId.of("kb", FULL, NOW)
    repository.put(layout.chunk_key(unfinished, "a1", 0), b"")

    assert [each.stamp for each in newest_first(repository, NOW)] == stamps(days(1, 2))


@pytest.mark.parametrize("attempt", ["a1", "z1"])
def test_a_manifest_that_is_jumped_over_is_only_perhaps_there(
    monkeypatch: pytest.MonkeyPatch, attempt: str
) -> None:
    monkeypatch.setattr(listed_module, "_SKIP_AFTER", 10)
    repository, backup = MemoryRepository(), BackupId.of("kb", FULL, NOW)
    for number in range(100):
        repository.put(layout.chunk_key(backup, attempt, number), b"")
    repository.put(layout.manifest_key(backup), b"m")
    add(repository, NOW + timedelta(days=1), FULL)
    counting = CountingRepository(repository)

    big, small = list_backups(counting, FULL)

    assert (big.stamp, small.stamp) == (backup.stamp, f"{NOW + timedelta(days=1):%Y%m%d-%H%M%S}")
    assert (big.manifest is None) == (attempt == "a1")
    assert small.manifest is not None
    assert counting.calls["keys"] < 20


def test_a_stretch_holds_its_first_and_not_its_end() -> None:
    repository = made(*days(1, 2, 3))
    oldest, middle, newest = sorted(stamps(days(1, 2, 3)))

    found = [each.stamp for each in list_backups(repository, FULL, since=oldest, before=newest)]

    assert found == [oldest, middle]
