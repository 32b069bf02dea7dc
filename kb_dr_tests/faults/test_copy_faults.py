"""Copying and mending, with either end failing at every single call, and the process killed there.

Each run ends loudly or correctly; whatever has a manifest in the copy can be restored from it at
any moment; the source is as it was; and the next run comes to what one without a fault does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.retention import WalRange
from kb_dr.errors import CopyIncomplete, KbDrError
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.copy_backup import copy_backup
from kb_dr.operations.copy_wal import copy_wal
from kb_dr.operations.purged_wal import load_purged_wal, note_purged_wal
from kb_dr.operations.repair_copy import repair_backup
from kb_dr.operations.repair_wal import repair_wal
from kb_dr.operations.validate_backup import validate_backup
from kb_dr.ports import Repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.faults.failing_repository import FailingRepository, Fault, Killed, When
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_copies import damage
from kb_dr_tests.stored_backups import STARTED, SYSTEM, segment, store_backup, store_segments


class _Small(PlainCodec):
    """As PlainCodec; the zeros at the end of a segment are not carried along."""

    def encode(self, plain: bytes) -> bytes:
        return len(plain).to_bytes(8, "big") + super().encode(plain.rstrip(b"\0"))

    def decode(self, coded: bytes) -> bytes:
        return super().decode(coded[8:]).ljust(int.from_bytes(coded[:8], "big"), b"\0")


CODEC = _Small()
HOUR = timedelta(hours=1)

Run = Callable[[Sequence[Repository]], object]
"""Works on the primary, the local and the offsite copy; only the last one is written to."""


@dataclass(frozen=True)
class Case:
    """What is done, and in what state it finds the copies."""

    made: Callable[[], list[MemoryRepository]]
    run: Run


def _chain() -> tuple[list[MemoryRepository], list[StoredManifest]]:
    """A full, an increment and a recovery point, after a full that is offsite already."""
    clock = FakeClock()
    places = [MemoryRepository(name, clock) for name in ("primary", "local", "offsite")]
    primary, local, offsite = places
    old = store_backup(primary, CODEC, started=STARTED - 24 * HOUR, start=1, stop=2)
    for copy in (local, offsite):
        _copy([primary, copy], old)
    chain = [store_backup(primary, CODEC, start=4, stop=5)]
    chain.append(store_increment(primary, CODEC, chain[-1], start=6))
    chain.append(store_increment(primary, CODEC, chain[-1], files=False, start=8))
    store_segments(primary, CODEC, 3, 12)
    return places, chain


def _copy(places: Sequence[Repository], stored: StoredManifest) -> None:
    source, *others, target = places
    backup = stored.manifest.backup_id
    copy_backup(source, target, CODEC, backup, RecordingProgress(), others=others, parallel=1)


NEWEST = _chain()[1][-1]
INCREMENT = _chain()[1][-2]


def _new_backup() -> list[MemoryRepository]:
    return _chain()[0]


def _copy_newest(places: Sequence[Repository]) -> None:
    _copy(places, NEWEST)


def _damaged_source() -> list[MemoryRepository]:
    """What the primary has wrong, or not at all, the local copy has right."""
    (primary, local, offsite), chain = _chain()
    _copy([primary, local], chain[-1])
    damage(primary, INCREMENT.manifest.chunks[0].key, b"other bytes")
    damage(primary, chain[0].manifest.chunks[1].key, None)
    damage(primary, segment(6).name, b"other bytes")
    return [primary, local, offsite]


def _losses() -> list[MemoryRepository]:
    """A complete copy that has lost objects since."""
    (primary, local, offsite), chain = _chain()
    _copy([primary, offsite], chain[-1])
    damage(offsite, INCREMENT.manifest.chunks[0].key, None)
    damage(offsite, segment(7).name, None)
    return [primary, local, offsite]


def _copy_increment(places: Sequence[Repository]) -> None:
    _copy(places, INCREMENT)


def _archive() -> list[MemoryRepository]:
    """The primary let go of WAL in the middle before the rest was brought offsite."""
    (primary, local, offsite), _ = _chain()
    damage(primary, segment(10).name, None)
    gone = WalRange(SYSTEM, 1, segment(10).name, segment(10).name, 1, 1)
    note_purged_wal(primary, FakeClock(), [gone], {SYSTEM: segment(10).segment_bytes})
    return [primary, local, offsite]


def _copy_wal(places: Sequence[Repository]) -> None:
    source, local, target = places
    copy_wal(source, target, CODEC, SYSTEM, RecordingProgress(), others=[local], parallel=1)


def _damaged_copy() -> list[MemoryRepository]:
    """Offsite the increment is wrong in every way there is."""
    (primary, local, offsite), chain = _chain()
    _copy([primary, offsite], chain[-1])
    _copy([primary, local], chain[-1])
    damage(primary, INCREMENT.manifest.chunks[0].key, b"wrong here, too")
    damage(offsite, INCREMENT.manifest.chunks[0].key, b"other bytes")
    assert INCREMENT.manifest.postgres_manifest is not None
    damage(offsite, INCREMENT.manifest.postgres_manifest.key, None)
    damage(offsite, layout.manifest_key(INCREMENT.manifest.backup_id), b"{ no manifest")
    damage(offsite, segment(6).name, None)
    damage(offsite, segment(7).name, "flip")
    return [primary, local, offsite]


def _repair(places: Sequence[Repository]) -> None:
    *sources, target = places
    backup = INCREMENT.manifest.backup_id
    done = repair_backup(sources, target, CODEC, backup, RecordingProgress(), parallel=1)
    if done.left:
        raise CopyIncomplete("; ".join(done.left))  # as the command does


def _repair_wal(places: Sequence[Repository]) -> None:
    *sources, target = places
    assert not repair_wal(sources, target, CODEC, SYSTEM, RecordingProgress(), parallel=1).left


CASES = [
    pytest.param(Case(_new_backup, _copy_newest), id="a chain"),
    pytest.param(Case(_damaged_source, _copy_newest), id="a chain from two copies"),
    pytest.param(Case(_losses, _copy_increment), id="what was lost since"),
    pytest.param(Case(_archive, _copy_wal), id="WAL"),
    pytest.param(Case(_damaged_copy, _repair), id="repair of a backup"),
    pytest.param(Case(_damaged_copy, _repair_wal), id="repair of WAL"),
]


def _end(repository: MemoryRepository) -> dict[str, object]:
    """All of it, and of records with random names what they say."""
    found: dict[str, object] = {
        key: body for key, body in repository.bodies.items() if not key.startswith("purged-wal/")
    }
    found["let go of"] = load_purged_wal(repository, SYSTEM)
    return found


def _sound(repository: Repository) -> set[str]:
    """The backups of which every byte is right."""
    found = set()
    for each in readable(load_catalog(repository)):
        backup = each.manifest.backup_id
        looked = validate_backup(
            repository, CODEC, backup, RecordingProgress(), deep=True, parallel=1
        )
        found |= {each.manifest.id} if looked.sound else set()
    return found


def _snapshot(places: Sequence[MemoryRepository]) -> list[MemoryRepository]:
    copied = []
    for each in places:
        copy = MemoryRepository(each.name, each._clock)
        copy.bodies.update(each.bodies)
        copied.append(copy)
    return copied


@pytest.mark.parametrize("case", CASES)
def test_every_call_of_either_end_may_fail_or_be_the_last_one(case: Case) -> None:
    made = case.made()
    sound, manifests = _sound(made[-1]), _manifests(made[-1])
    undisturbed, count = _snapshot(made), Fault()
    case.run([FailingRepository(each, count) for each in undisturbed])
    end = _end(undisturbed[-1])
    assert end != _end(made[-1])
    assert _sound(undisturbed[-1]) >= sound
    loud = 0
    for number in range(len(count.calls)):
        for when in When:
            places, fault = _snapshot(made), Fault(number, when)
            target = places[-1]
            ended = False
            try:
                case.run([FailingRepository(each, fault) for each in places])
                ended = True
            except (KbDrError, Killed):
                loud += 1
            where = f"{when} {fault.calls[number]}"

            for before, after in zip(made[:-1], places[:-1], strict=True):
                assert before.bodies == after.bodies, where
            assert not ended or _end(target) == end, where
            now = _sound(target)
            assert sound <= now, where
            landed = _manifests(target) - manifests
            assert landed <= now, where

            case.run(places)
            assert _end(target) == end, where
    assert loud > len(count.calls) * 3, "most calls are such that a failure has to be heard of"


def _manifests(repository: Repository) -> set[str]:
    return {each.manifest.id for each in readable(load_catalog(repository))}
