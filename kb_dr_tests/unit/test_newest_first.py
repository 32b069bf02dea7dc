"""Backups are walked from the newest on, and no more of them is read than is asked for."""

from datetime import timedelta
from itertools import islice

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import UnreadableRecord
from kb_dr.operations.newest_first import newest_first
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.stored_backups import STARTED, store_backup

CODEC = PlainCodec()
LATER = BackupId.of("kb", BackupKind.INCR, STARTED + timedelta(hours=4))


class Counting(MemoryRepository):
    """Remembers which keys were read."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []

    def read(self, key: str) -> bytes:
        self.got.append(key)
        return super().read(key)


def a_history(repository: MemoryRepository) -> list[str]:
    """Fulls of a year ago, of a month ago and of now, and increments on the last; newest first."""
    for days in (365, 30):
        store_backup(repository, CODEC, started=STARTED - timedelta(days=days))
    full = store_backup(repository, CODEC)
    points = [
        store_increment(repository, CODEC, full, hours=hours, start=2, files=False)
        for hours in (1, 2)
    ]
    return [
        *(each.manifest.id for each in reversed(points)),
        full.manifest.id,
        "kb-full-20261021-020000",
        "kb-full-20251120-020000",
    ]


def test_every_backup_comes_once_and_newest_first() -> None:
    repository = MemoryRepository()
    expected = a_history(repository)

    assert [str(backup) for backup, _ in newest_first(repository, LATER)] == expected


def test_nothing_of_its_own_time_or_later_comes() -> None:
    repository = MemoryRepository()
    expected = a_history(repository)
    itself = BackupId.parse(expected[0])

    assert [str(backup) for backup, _ in newest_first(repository, itself)] == expected[1:]


def test_a_full_of_the_same_moment_is_older_than_the_increment() -> None:
    repository = MemoryRepository()
    full = store_backup(repository, CODEC).manifest
    increment = BackupId.of("kb", BackupKind.INCR, STARTED)

    assert [str(backup) for backup, _ in newest_first(repository, increment)] == [full.id]
    assert list(newest_first(repository, full.backup_id)) == []


def test_no_more_is_read_than_is_asked_for() -> None:
    repository = Counting()
    a_history(repository)
    repository.got.clear()

    list(islice(newest_first(repository, LATER), 2))

    assert len(repository.got) == 2


def test_what_cannot_be_read_and_what_is_unfinished_hides_nothing() -> None:
    repository = MemoryRepository()
    expected = a_history(repository)
    repository.bodies[layout.manifest_key(BackupId.parse(expected[0]))] = b"{}"
    repository.put("full/20261120-030000/a1/base.tar.zst.age.00000", b"unfinished")

    found = list(newest_first(repository, LATER))

    assert [str(backup) for backup, _ in found] == expected
    assert isinstance(found[0][1], UnreadableRecord)
