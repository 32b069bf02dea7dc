"""An increment is never copied to where its parents are not; and WAL is not read twice for it."""

import pytest

from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import BrokenChain, ObjectConflict
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.copied_chain import lacking_parents
from kb_dr.operations.copy_backup import copy_backup
from kb_dr_tests.fakes import MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.made_chains import store_chain, store_increment
from kb_dr_tests.stored_backups import store_backup, store_segments

CODEC = PlainCodec()


class Counting(MemoryRepository):
    """Remembers which keys were read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.got: list[str] = []

    def read(self, key: str) -> bytes:
        self.got.append(key)
        return super().read(key)


def copy(primary: MemoryRepository, offsite: MemoryRepository, stored: StoredManifest) -> None:
    copy_backup(primary, offsite, CODEC, stored.manifest.backup_id, RecordingProgress())


def ids(repository: MemoryRepository) -> list[str]:
    return [each.manifest.id for each in readable(load_catalog(repository))]


def test_parents_go_before_their_child() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    chain = store_chain(primary, CODEC, 3)

    copy(primary, offsite, chain[-1])

    assert ids(offsite) == [each.manifest.id for each in chain]
    (newest,) = [
        e for e in readable(load_catalog(offsite)) if e.manifest.id == chain[-1].manifest.id
    ]
    assert [link.digest for link in load_chain(offsite, newest)] == [e.digest for e in chain]


def test_what_is_lacking_is_named_full_first() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    chain = store_chain(primary, CODEC, 3)

    everything = lacking_parents(primary, offsite, chain[-1])
    copy(primary, offsite, chain[1])
    rest = lacking_parents(primary, offsite, chain[-1])

    assert everything == tuple(each.manifest.backup_id for each in chain[:3])
    assert rest == (chain[2].manifest.backup_id,)


def test_a_copy_that_breaks_off_leaves_no_child_without_its_parents() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    chain = store_chain(primary, CODEC, 3)
    lost = chain[2].manifest.chunks[0]
    primary.delete(lost.key)

    with pytest.raises(Exception, match=lost.key):
        copy(primary, offsite, chain[-1])

    assert ids(offsite) == [each.manifest.id for each in chain[:2]]


def test_parents_that_stand_there_need_not_be_in_the_primary() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    chain = store_chain(primary, CODEC, 2)
    copy(primary, offsite, chain[1])
    primary.delete(layout.manifest_key(chain[0].manifest.backup_id))

    copy(primary, offsite, chain[2])

    assert ids(offsite) == [each.manifest.id for each in chain]


def test_a_parent_that_is_nowhere_is_named() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    chain = store_chain(primary, CODEC, 2)
    primary.delete(layout.manifest_key(chain[0].manifest.backup_id))

    with pytest.raises(BrokenChain, match=f"{chain[0].manifest.id}, the parent of"):
        copy(primary, offsite, chain[2])

    assert ids(offsite) == []


def test_another_backup_in_the_place_of_a_parent_is_refused() -> None:
    primary, offsite = MemoryRepository("primary"), MemoryRepository("offsite")
    chain = store_chain(primary, CODEC, 1)
    store_backup(offsite, CODEC, chunks=1)

    with pytest.raises(ObjectConflict):
        copy(primary, offsite, chain[1])


def test_wal_of_an_earlier_recovery_point_is_not_read_again() -> None:
    primary, offsite = Counting("primary"), Counting("offsite")
    (full,) = store_chain(primary, CODEC, 0)
    store_segments(primary, CODEC, 4, 8)
    points = [
        store_increment(primary, CODEC, full, hours=hours, start=first, files=False)
        for hours, first in ((1, 5), (2, 7))
    ]
    copy(primary, offsite, points[0])
    primary.got.clear()
    offsite.got.clear()

    copy(primary, offsite, points[1])

    read = {
        parts[1][-1] for key in (*primary.got, *offsite.got) if (parts := layout.wal_file_of(key))
    }
    assert read == {"7", "8"}
    assert ids(offsite) == [each.manifest.id for each in (full, *points)]
