"""Retention, with the storage failing at every single call, and the process killed there.

Each run ends loudly or correctly, a clean run after it comes to the same end, and on the way
nothing that stays becomes unrestorable, and nothing that may come back loses what it is made of.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import KbDrError
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.gather_retention import buried_manifest
from kb_dr.operations.holds import hold, release, where_it_stands
from kb_dr.operations.purged_wal import load_purged_wal
from kb_dr.operations.tombstones import load_tombstones, open_tombstones, store_tombstone
from kb_dr.operations.undelete_backup import undelete_backup
from kb_dr.ports import Repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.faults.failing_repository import (
    FailingRepository,
    Fault,
    Killed,
    Meanwhile,
    When,
)
from kb_dr_tests.made_history import POLICY, History, restorable, why_not_restorable
from kb_dr_tests.stored_backups import SYSTEM

DAY = timedelta(days=1)


def _made() -> History:
    history = History.begin(others=("offsite",))
    full = history.back_up()
    child = history.back_up(BackupKind.INCR, full)
    old = history.back_up()
    history.clock.pass_time(100 * DAY)
    history.days(3, all_proven=True)
    history.clock.pass_time(60 * DAY)
    history.days(2, all_proven=True)
    # Expired long ago; a hold on an old chain is released now, so that it goes in this run.
    held = [
        hold(history.places, history.clock, each.manifest.backup_id, "audit")
        for each in (child, full)
    ]
    history.apply()
    history.clock.pass_time(10 * DAY)
    history.days(9, all_proven=True)
    for event in held:
        release(history.places, history.clock, BackupId.parse(event.backup_id), "over", [event])
    # A run was cut off between the tombstone and the manifest of a backup that is kept by now.
    newest = readable(load_catalog(history.repository))[-1]
    text = history.repository.read(layout.manifest_key(newest.manifest.backup_id)).decode()
    store_tombstone(
        history.repository, (), history.clock, newest.manifest.backup_id, PurgeStep.EXPIRED,
        reason="old", digest=newest.digest, manifest=text,
    )  # fmt: skip
    assert old.manifest.id not in history.ids
    return history


Place = Callable[[MemoryRepository], Repository]
"""Makes a repository that holds what the one in memory does."""


@pytest.fixture(scope="module")
def past() -> History:
    """A history in which a run has something of everything to do. Only copies of it are used."""
    history = _made()
    plan = history.plan()
    assert any(each.kind is BackupKind.INCR for each in _going(history, plan.plan.expire))
    assert plan.plan.purge_now
    assert plan.plan.wal
    assert plan.gathered.interrupted
    return history


def _going(history: History, expire: object) -> Iterator[BackupId]:
    assert isinstance(expire, tuple)
    for each in expire:
        yield BackupId.parse(each.id)


def _in_memory(found: MemoryRepository) -> Repository:
    copied = MemoryRepository(found.name, found._clock)
    copied.bodies.update(found.bodies)
    copied._modified.update(found._modified)
    return copied


def _in_a_directory(at: Path) -> Place:
    def make(found: MemoryRepository) -> Repository:
        root = at / found.name
        root.mkdir(parents=True)
        for key, body in found.bodies.items():
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            stamp = found._modified[key].timestamp()
            os.utime(path, (stamp, stamp))
        return DirectoryRepository(root, found.name)

    return make


def _calls(history: History, place: Place) -> int:
    fault = Fault()
    history.apply(seen=[FailingRepository(place(each), fault) for each in history.places])
    return len(fault.calls)


def _end(places: list[Repository]) -> dict[str, object]:
    """All objects but records of steps, and where each backup stands by those."""
    found: dict[str, object] = {
        listed.key: places[0].read(listed.key)
        for listed in places[0].list("")
        if not listed.key.startswith((layout.TOMBSTONES, "purged-wal/"))
    }
    found["let go of"] = load_purged_wal(places[0], SYSTEM)
    for name, steps in load_tombstones(places[0]).items():
        found[f"last step of {name}"] = steps[-1].step
    return found


def _sweep(history: History, place: Callable[[], Place], whens: list[When]) -> int:
    undisturbed = [place()(each) for each in history.places]
    kept = {each.id for each in history.plan(seen=undisturbed).plan.decisions if each.keep}
    history.apply(seen=undisturbed)
    end = _end(undisturbed)
    count = _calls(history, place())
    loud = 0
    for number in range(count):
        for when in whens:
            places = [place()(each) for each in history.places]
            fault = Fault(number, when)
            try:
                history.apply(seen=[FailingRepository(each, fault) for each in places])
            except (KbDrError, Killed):
                loud += 1
            told = f"{when} {fault.calls[min(number, len(fault.calls) - 1)]}"
            _nothing_is_lost(history.clock, places, kept, told)
            history.apply(seen=places)
            assert _end(places) == end, told
    return loud


def _nothing_is_lost(clock: FakeClock, places: list[Repository], kept: set[str], told: str) -> None:
    here = places[0]
    assert kept <= restorable(here), told
    for stored in readable(load_catalog(here)):
        assert not why_not_restorable(here, stored) or stored.manifest.id not in kept, told
    for each in open_tombstones(here):
        if each.last.step is not PurgeStep.EXPIRED or clock.now() - each.last.at > POLICY_TIME:
            continue
        manifest = buried_manifest(each.last)
        if here.find(layout.manifest_key(manifest.backup_id)) is None:
            stored = StoredManifest(manifest, each.last.digest, here.name)
            missing = why_not_restorable(here, stored)
            assert not missing or "its parent" in missing, f"{told}: {each.backup_id}: {missing}"


POLICY_TIME = timedelta(days=POLICY.undelete_days)


def test_every_call_may_fail_or_be_the_last_one(past: History) -> None:
    loud = _sweep(past, lambda: _in_memory, list(When))

    assert loud > 300, "most calls are such that a failure has to be heard of"


def test_the_same_in_a_real_directory(past: History, tmp_path: Path) -> None:
    made = iter(range(1_000_000))

    def place() -> Place:
        return _in_a_directory(tmp_path / str(next(made)))

    _sweep(past, place, [When.AFTER])


def test_an_outage_that_lasts_ends_it_loudly(past: History) -> None:
    count = _calls(past, _in_memory)
    for number in range(0, count, 7):
        places = [_in_memory(each) for each in past.places]
        fault = Fault(number, lasting=True)
        with pytest.raises(KbDrError):
            past.apply(seen=[FailingRepository(each, fault) for each in places])


def test_undelete_may_fail_at_every_call(past: History) -> None:
    def undelete(places: list[Repository], name: str) -> None:
        undelete_backup(
            places[0], places[1:], past.clock, BackupId.parse(name), reason="wanted", until=None
        )

    def fresh() -> tuple[list[Repository], str]:
        places = [_in_memory(each) for each in past.places]
        done = past.apply(seen=places)
        return places, next(each.backup_id for each in done.dealt if "-incr-" in each.backup_id)

    places, name = fresh()
    fault = Fault()
    undelete([FailingRepository(each, fault) for each in places], name)
    assert name in restorable(places[0])
    end = _end(places)
    for number in range(len(fault.calls)):
        for when in When:
            places, name = fresh()
            before = restorable(places[0])
            failing = Fault(number, when)
            with contextlib.suppress(KbDrError, Killed):
                undelete([FailingRepository(each, failing) for each in places], name)
            assert before <= restorable(places[0]), failing.calls[number]
            undelete(places, name)
            assert _end(places) == end, failing.calls[number]


def test_two_runs_at_once_come_to_what_one_does(past: History) -> None:
    undisturbed = [_in_memory(each) for each in past.places]
    past.apply(seen=undisturbed)
    for number in range(0, _calls(past, _in_memory), 1):
        places = [_in_memory(each) for each in past.places]

        def other_run(places: list[Repository] = places) -> None:
            past.apply(seen=places)

        meanwhile = Meanwhile(number, other_run)
        with contextlib.suppress(KbDrError):
            past.apply(seen=[FailingRepository(each, meanwhile) for each in places])
        past.apply(seen=places)
        assert _end(places) == _end(undisturbed), meanwhile.calls[number]


def test_whoever_is_told_that_a_backup_is_held_finds_it_standing(past: History) -> None:
    """As `kb-dr hold` does: the hold is kept, and then it is asked where the backup stands."""
    expire = [each.id for each in past.plan().plan.expire]
    for number in range(0, _calls(past, _in_memory), 1):
        places = [_in_memory(each) for each in past.places]
        told: list[str] = []

        def hold_all(places: list[Repository] = places, told: list[str] = told) -> None:
            for name in expire:
                hold([places[1]], past.clock, BackupId.parse(name), "just now")
                if "primary" in where_it_stands(BackupId.parse(name), places)[0]:
                    told.append(name)

        meanwhile = Meanwhile(number, hold_all)
        past.apply(seen=[FailingRepository(each, meanwhile) for each in places])
        assert set(told) <= restorable(places[0]), meanwhile.calls[number]
