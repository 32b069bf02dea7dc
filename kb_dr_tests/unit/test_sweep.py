"""Only what no manifest names, and what is old enough, is swept; ids keep their order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.name_backup import clock_notes, next_backup_id
from kb_dr.operations.sweep import sweep
from kb_dr.operations.tombstones import store_tombstone
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_history import History
from kb_dr_tests.stored_backups import store_backup

OLD = timedelta(hours=25)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def repository(clock: FakeClock) -> MemoryRepository:
    return MemoryRepository(clock=clock)


def debris(repository: MemoryRepository, stamp: str, attempt: str = "debris") -> str:
    backup = BackupId("kb", BackupKind.FULL, stamp)
    for number in range(3):
        repository.put(layout.chunk_key(backup, attempt, number), b"chunk %d" % number)
    return layout.attempt_prefix(backup, attempt)


def a_day_later(repository: MemoryRepository, clock: FakeClock) -> None:
    """Time passes, and a new backup stores its first chunks."""
    clock.pass_time(OLD)
    debris(repository, "20271121-020000", "running")


def test_old_debris_goes_and_the_backup_beside_it_stays(
    repository: MemoryRepository, clock: FakeClock
) -> None:
    stored = store_backup(repository, PlainCodec())
    prefix = debris(repository, stored.manifest.backup_id.stamp)
    other = debris(repository, "20261119-020000")
    a_day_later(repository, clock)
    before = {key for key in repository.bodies if "debris" not in key}

    assert sorted(sweep(repository, clock, dry_run=True)) == sorted([prefix, other])
    assert any("debris" in key for key in repository.bodies)
    assert sorted(sweep(repository, clock, dry_run=False)) == sorted([prefix, other])
    assert set(repository.bodies) == before


def test_an_attempt_that_still_stores_is_never_swept(
    repository: MemoryRepository, clock: FakeClock
) -> None:
    prefix = debris(repository, "20261119-020000")
    a_day_later(repository, clock)
    repository.put(f"{prefix}base.tar.zst.age.00003", b"one more")

    assert sweep(repository, clock, dry_run=False) == ()
    assert len(repository.bodies) == 7


def test_a_clock_that_runs_ahead_sweeps_nothing_that_is_running(
    repository: MemoryRepository,
) -> None:
    debris(repository, "20261119-020000", "running")
    ahead = FakeClock()
    ahead.pass_time(OLD)

    assert sweep(repository, ahead, dry_run=False) == ()
    assert len(repository.bodies) == 3


def test_a_clock_put_back_sweeps_nothing(repository: MemoryRepository, clock: FakeClock) -> None:
    debris(repository, "20261119-020000")
    clock.set(datetime(2026, 1, 1, tzinfo=UTC))

    assert sweep(repository, clock, dry_run=False) == ()


def test_nothing_goes_beside_a_manifest_that_cannot_be_read(
    repository: MemoryRepository, clock: FakeClock
) -> None:
    debris(repository, "20261119-020000")
    key = layout.manifest_key(BackupId("kb", BackupKind.FULL, "20261119-020000"))
    repository.put(key, b'{"schema_version": 2}')
    a_day_later(repository, clock)

    assert sweep(repository, clock, dry_run=False) == ()


def test_what_is_retained_is_passed_over_and_the_rest_goes(
    repository: MemoryRepository, clock: FakeClock
) -> None:
    locked = debris(repository, "20261118-020000")
    free = debris(repository, "20261119-020000")
    a_day_later(repository, clock)
    over = clock.now() + timedelta(days=2)
    # The newest can go; an older object of the same attempt cannot.
    repository.retained[locked + "base.tar.zst.age.00001"] = over

    assert sweep(repository, clock, dry_run=True) == (free,)
    assert sweep(repository, clock, dry_run=False) == (free,)
    assert {key for key in repository.bodies if key.startswith(locked)} == {
        f"{locked}base.tar.zst.age.{number:05d}" for number in range(3)
    }
    clock.set(over)
    assert locked in sweep(repository, clock, dry_run=False)


def test_a_lock_that_shows_only_when_deleting_stops_no_sweep(
    repository: MemoryRepository, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = debris(repository, "20261118-020000")
    free = debris(repository, "20261119-020000")
    a_day_later(repository, clock)
    kept = locked + "base.tar.zst.age.00000"
    repository.retained[kept] = clock.now() + timedelta(days=2)
    monkeypatch.setattr(repository, "retained_until", lambda prefix: None)

    assert sweep(repository, clock, dry_run=False) == (free,)
    assert [key for key in repository.bodies if key.startswith((locked, free))] == [kept]


def test_what_this_product_did_not_write_is_left_alone(
    repository: MemoryRepository, clock: FakeClock
) -> None:
    repository.put("full/notes/mine/todo.txt", b"keep")
    a_day_later(repository, clock)

    assert sweep(repository, clock, dry_run=False) == ()


def test_ids_keep_their_order_when_the_clock_goes_back_a_little(
    repository: MemoryRepository,
) -> None:
    stored = store_backup(repository, PlainCodec())
    newest = stored.manifest.backup_id
    earlier = newest.started - timedelta(minutes=10)

    assert next_backup_id(repository, "kb", newest.started + timedelta(days=1)) == BackupId.of(
        "kb", BackupKind.FULL, newest.started + timedelta(days=1)
    )
    after = next_backup_id(repository, "kb", earlier)
    assert after.started == newest.started + timedelta(seconds=1)
    assert "a clock was wrong" in clock_notes(repository, after, earlier)[0]


def test_an_increment_is_named_after_every_backup_of_any_kind(
    repository: MemoryRepository,
) -> None:
    full = store_backup(repository, PlainCodec())
    child = store_increment(repository, PlainCodec(), full)
    of_the_child = child.manifest.started

    named = [
        next_backup_id(repository, "kb", of_the_child - early, kind)
        for kind in (BackupKind.FULL, BackupKind.INCR)
        for early in (timedelta(0), timedelta(minutes=20))
    ]

    assert {each.started for each in named} == {of_the_child + timedelta(seconds=1)}
    assert str(child.manifest.id) in clock_notes(repository, named[0], of_the_child)[0]


def test_one_backup_from_the_far_future_does_not_name_all_later_ones(
    repository: MemoryRepository,
) -> None:
    stored = store_backup(repository, PlainCodec())
    future = replace(stored.manifest, id="kb-full-20991231-000000")
    repository.put(layout.manifest_key(future.backup_id), records.to_json(future))
    now = datetime(2026, 12, 1, tzinfo=UTC)

    assert next_backup_id(repository, "kb", now).started == now


def test_what_retention_let_go_of_is_swept_only_when_it_is_purged(
    repository: MemoryRepository, clock: FakeClock
) -> None:
    stored = store_backup(repository, PlainCodec())
    backup = stored.manifest.backup_id
    text = repository.read(layout.manifest_key(backup)).decode()

    def step(step: PurgeStep) -> None:
        store_tombstone(
            repository, (), clock, backup, step, reason="old", digest=stored.digest, manifest=text
        )

    step(PurgeStep.EXPIRED)
    repository.delete(layout.manifest_key(backup))
    a_day_later(repository, clock)
    assert sweep(repository, clock, dry_run=False) == ()
    assert all(repository.find(each.key) for each in stored.manifest.objects)

    clock.pass_time(OLD)
    step(PurgeStep.PURGED)  # though something of it is left
    debris(repository, "20281121-020000", "running")
    assert layout.attempt_prefix(backup, "a1") in sweep(repository, clock, dry_run=False)


def test_a_proven_backup_whose_manifest_somebody_removed_is_left_to_be_mended() -> None:
    history = History.begin()
    taken = history.days(3, all_proven=True)
    lost = taken[0].manifest
    beside = debris(history.repository, taken[1].manifest.backup_id.stamp)
    history.clock.pass_time(2 * OLD)
    history.back_up()
    history.repository.delete(layout.manifest_key(lost.backup_id))

    assert sweep(history.repository, history.clock, dry_run=False) == (beside,)
    assert all(history.repository.find(each.key) for each in lost.objects)


def test_what_another_copy_calls_a_backup_is_never_debris(
    repository: MemoryRepository, clock: FakeClock
) -> None:
    """Its manifest is gone here, or it is being brought here since more than a day."""
    offsite = MemoryRepository("offsite", clock)
    stored = store_backup(repository, PlainCodec())
    key = layout.manifest_key(stored.manifest.backup_id)
    offsite.put(key, repository.read(key))
    repository.delete(key)
    other = debris(repository, stored.manifest.backup_id.stamp)
    a_day_later(repository, clock)

    assert sweep(repository, clock, dry_run=False, others=(offsite,)) == (other,)
    assert all(repository.find(each.key) for each in stored.manifest.objects)
    offsite.delete(key)
    offsite.failures[""] = offsite.failures[key] = RepositoryUnavailable("no answer")
    assert sweep(repository, clock, dry_run=False, others=(offsite,)) == ()
    offsite.failures.clear()
    prefix = layout.attempt_prefix(stored.manifest.backup_id, "a1")
    assert sweep(repository, clock, dry_run=False, others=(offsite,)) == (prefix,)
