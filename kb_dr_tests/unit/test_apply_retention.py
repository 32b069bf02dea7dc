"""Retention applied: what goes, in which order, and what keeps it from going."""

from datetime import UTC, datetime, timedelta

import pytest

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.domain.wal_archive import ArchiveListing
from kb_dr.errors import (
    NoUsableBackup,
    RepositoryUnavailable,
    RetentionBlocked,
)
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.holds import hold, release
from kb_dr.operations.initialise import Marker
from kb_dr.operations.purge_backup import Outcome
from kb_dr.operations.purged_wal import load_purged_wal
from kb_dr.operations.tombstones import read_steps, store_tombstone
from kb_dr.operations.undelete_backup import undelete_backup
from kb_dr_tests.made_history import History, restorable
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment

DAY = timedelta(days=1)


@pytest.fixture
def history() -> History:
    """Three weeks of daily backups, the newest proven."""
    made = History.begin(others=("offsite",))
    made.days(21)
    return made


def _undelete(history: History, name: str, *, until: timedelta | None = 3 * DAY) -> None:
    undelete_backup(
        history.repository,
        history.others,
        history.clock,
        BackupId.parse(name),
        reason="wanted again",
        until=until,
    )


def test_what_the_plan_names_goes_and_nothing_else(history: History) -> None:
    planned = history.plan()
    before = history.ids
    going = {each.id for each in planned.plan.expire}
    done = history.apply(planned)

    assert going, "something has to go for this to show anything"
    assert set(history.ids) == set(before) - going
    assert {each.backup_id for each in done.dealt} == going
    assert done.count(Outcome.EXPIRED) == len(going)
    assert restorable(history.repository) == set(history.ids)


def test_a_second_apply_does_nothing(history: History) -> None:
    history.apply()
    before = dict(history.repository.bodies)
    done = history.apply()

    assert done.dealt == ()
    assert done.wal.files == 0
    assert history.repository.bodies == before


def test_objects_stay_until_they_can_be_brought_back_no_more(history: History) -> None:
    going = [BackupId.parse(each.id) for each in history.plan().plan.expire]
    history.apply()
    for backup in going:
        assert list(history.repository.list(layout.backup_prefix(backup)))
    history.clock.pass_time(2 * DAY)
    _another_day(history)
    history.apply()
    for backup in going:
        assert list(history.repository.list(layout.backup_prefix(backup)))
    history.clock.pass_time(2 * DAY)
    _another_day(history)
    history.apply()
    for backup in going:
        assert not list(history.repository.list(layout.backup_prefix(backup)))
        steps = read_steps(history.repository, backup, "primary")
        assert [each.step for each in steps] == [PurgeStep.EXPIRED, PurgeStep.PURGED]
        assert read_steps(history.others[0], backup, "primary") == steps


def _another_day(history: History) -> StoredManifest:
    stored = history.back_up()
    history.prove(stored)
    return stored


def test_wal_goes_last_and_only_what_nothing_needs(history: History) -> None:
    planned = history.plan()
    history.apply(planned)
    history.clock.pass_time(4 * DAY)
    _another_day(history)
    before = set(history.repository.bodies)
    planned = history.plan()
    assert planned.plan.wal, "some has to go for this to show anything"
    assert planned.plan.purge_now
    done = history.apply(planned)
    gone = before - set(history.repository.bodies)

    assert done.wal.files == sum(each.files for each in planned.plan.wal)
    assert done.wal.files == sum(key.startswith("wal/") for key in gone)
    assert restorable(history.repository) == set(history.ids)


def test_what_is_held_stays_and_goes_once_it_is_released(history: History) -> None:
    name = history.plan().plan.expire[0].id
    held = hold([history.others[0]], history.clock, BackupId.parse(name), "audit")

    history.apply()
    assert name in history.ids
    release(history.places, history.clock, BackupId.parse(name), "over", [held])
    history.apply()
    assert name not in history.ids


def test_a_hold_that_comes_after_the_plan_counts(history: History) -> None:
    planned = history.plan()
    name = planned.plan.expire[0].id
    hold(history.places, history.clock, BackupId.parse(name), "at the last moment")
    done = history.apply(planned)

    assert name in history.ids
    assert [each.outcome for each in done.dealt if each.backup_id == name] == [Outcome.SPARED]
    assert not read_steps(history.repository, BackupId.parse(name), "primary")


def test_a_hold_that_comes_between_tombstone_and_manifest_counts(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = history.plan()
    name = planned.plan.expire[0].id
    put = history.repository.put

    def put_and_hold(key: str, body: bytes) -> object:
        stored = put(key, body)
        if key.startswith(layout.tombstones_prefix(BackupId.parse(name))) and "-expired-" in key:
            hold([history.others[0]], history.clock, BackupId.parse(name), "just now")
        return stored

    monkeypatch.setattr(history.repository, "put", put_and_hold)
    history.apply(planned)

    assert name in history.ids
    steps = read_steps(history.repository, BackupId.parse(name), "primary")
    assert [each.step for each in steps] == [PurgeStep.EXPIRED, PurgeStep.UNDELETED]


def test_a_hold_keeps_the_objects_of_what_has_expired(history: History) -> None:
    name = history.plan().plan.expire[0].id
    backup = BackupId.parse(name)
    history.apply()
    held = hold(history.places, history.clock, backup, "too late for the manifest")
    history.clock.pass_time(10 * DAY)
    _another_day(history)
    history.apply()
    assert list(history.repository.list(layout.backup_prefix(backup)))

    release(history.places, history.clock, backup, "over", [held])
    history.apply()
    assert not list(history.repository.list(layout.backup_prefix(backup)))


@pytest.mark.parametrize("what", ["hold", "proof", "tombstone", "manifest", "a silent copy"])
def test_nothing_goes_while_something_cannot_be_read(history: History, what: str) -> None:
    names = [each.id for each in history.plan().plan.expire]
    backup = BackupId.parse(names[0])
    if what == "hold":
        made = hold([history.others[0]], history.clock, backup, "audit")
        history.others[0].bodies[layout.hold_key(backup, made.id)] = b"{"
    elif what == "proof":
        key = next(key for key in history.repository.bodies if key.startswith("proofs/"))
        for place in history.places:
            place.bodies[key] = b"{"
    elif what == "tombstone":
        history.repository.bodies[layout.tombstone_key(backup, "primary", "20260101-1")] = b"{"
    elif what == "manifest":
        history.repository.bodies[layout.manifest_key(backup)] = b"{"
    else:
        history.others[0].failures[""] = RepositoryUnavailable("down")
    before = dict(history.repository.bodies)

    assert history.plan().plan.expire == ()
    with pytest.raises(RetentionBlocked):
        history.apply()
    assert history.repository.bodies == before


def test_nothing_goes_after_a_failed_proof_and_that_is_no_error(history: History) -> None:
    newest = history.back_up()
    history.prove(newest, Verdict.FAILED)
    before = history.ids
    done = history.apply()

    assert history.ids == before
    assert done.dealt == ()
    assert any("FAILED" in note for note in done.notes)


def test_what_the_store_retains_is_said_and_stands(history: History) -> None:
    names = [each.id for each in history.plan().plan.expire]
    backup = BackupId.parse(names[-1])
    until = datetime(2030, 1, 1, tzinfo=UTC)
    key = layout.chunk_key(backup, "a1", 0)
    planned = history.plan()
    history.repository.retained[key] = until

    done = history.apply(planned)  # locked after it was asked
    assert [each.outcome for each in done.dealt if each.backup_id == str(backup)] == [
        Outcome.RETAINED
    ]
    assert str(backup) in history.ids
    assert str(backup) in restorable(history.repository)
    decision = next(each for each in history.plan().plan.decisions if each.id == str(backup))
    assert decision.keep
    assert any("2030-01-01" in reason for reason in decision.reasons)


def test_a_manifest_the_store_refuses_to_delete_is_a_backup_still(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = history.plan()
    backup = BackupId.parse(planned.plan.expire[0].id)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    history.repository.retained[layout.manifest_key(backup)] = until
    with monkeypatch.context() as patched:
        # Nothing is locked when it is asked, and all of it when it is to go.
        patched.setattr(history.repository, "retained_until", lambda prefix: None)
        done = history.apply(planned)

    assert str(backup) in history.ids
    assert done.dealt[-1].outcome is Outcome.RETAINED
    steps = read_steps(history.repository, backup, "primary")
    assert steps[-1].step is PurgeStep.UNDELETED


def test_wal_the_store_retains_stays_for_the_next_run(history: History) -> None:
    history.apply()
    history.clock.pass_time(4 * DAY)
    _another_day(history)
    history.repository.retained[""] = history.clock.now() + DAY
    planned = history.plan()
    assert planned.plan.purge_now == ()
    done = history.apply(planned)

    assert done.wal.files == 0
    assert done.wal.retained == sum(each.files for each in planned.plan.wal) > 0
    history.clock.pass_time(2 * DAY)
    assert history.apply().wal.files > 0


def test_what_expired_comes_back_whole_and_can_expire_again(history: History) -> None:
    name = history.plan().plan.expire[0].id
    text = history.repository.read(layout.manifest_key(BackupId.parse(name)))
    history.apply()
    _undelete(history, name)

    assert name in restorable(history.repository)
    assert history.repository.read(layout.manifest_key(BackupId.parse(name))) == text
    _undelete(history, name)  # again is a success
    history.apply()
    assert name not in history.ids
    steps = read_steps(history.repository, BackupId.parse(name), "primary")
    assert [each.step for each in steps] == [
        PurgeStep.EXPIRED,
        PurgeStep.UNDELETED,
        PurgeStep.EXPIRED,
    ]


def test_what_is_purged_or_whose_time_is_over_does_not_come_back(history: History) -> None:
    name = history.plan().plan.expire[0].id
    with pytest.raises(NoUsableBackup, match="has not let go"):
        _undelete(history, "kb-full-20250101-000000")
    history.apply()
    history.clock.pass_time(3 * DAY)
    with pytest.raises(NoUsableBackup, match="its time was over"):
        _undelete(history, name)
    assert name not in history.ids
    history.clock.pass_time(DAY)
    _another_day(history)
    history.apply()
    with pytest.raises(NoUsableBackup, match="its objects went"):
        _undelete(history, name, until=None)


def test_what_has_lost_an_object_does_not_come_back(history: History) -> None:
    name = history.plan().plan.expire[0].id
    history.apply()
    history.repository.delete(layout.chunk_key(BackupId.parse(name), "a1", 1))

    with pytest.raises(NoUsableBackup, match="1 of its objects"):
        _undelete(history, name)
    assert name not in history.ids


def _with_chain(history: History) -> tuple[StoredManifest, StoredManifest, StoredManifest]:
    full = history.back_up()
    history.clock.pass_time(timedelta(hours=1))
    one = history.back_up(BackupKind.INCR, full)
    history.clock.pass_time(timedelta(hours=1))
    return full, one, history.back_up(BackupKind.INCR, one)


def test_children_go_before_what_they_are_built_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History.begin()
    chain = _with_chain(history)
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    deleted: list[str] = []
    delete = history.repository.delete

    def note(key: str) -> None:
        deleted.append(key)
        delete(key)

    monkeypatch.setattr(history.repository, "delete", note)
    history.apply()

    manifests = [layout.manifest_key(each.manifest.backup_id) for each in reversed(chain)]
    assert [key for key in deleted if key in manifests] == manifests


def test_a_parent_stays_with_the_child_that_stays() -> None:
    history = History.begin()
    full, one, two = _with_chain(history)
    hold(history.places, history.clock, two.manifest.backup_id, "audit")
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    history.apply()

    assert {each.manifest.id for each in (full, one, two)} <= restorable(history.repository)


def test_a_child_that_comes_after_the_plan_keeps_its_parents() -> None:
    history = History.begin()
    full = history.back_up()
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    planned = history.plan()
    assert full.manifest.id in [each.id for each in planned.plan.expire]
    child = history.back_up(BackupKind.INCR, full)
    done = history.apply(planned)

    assert {full.manifest.id, child.manifest.id} <= restorable(history.repository)
    spared = [each for each in done.dealt if each.outcome is Outcome.SPARED]
    assert [each.backup_id for each in spared] == [full.manifest.id]


def test_a_parent_that_expired_under_a_child_is_brought_back() -> None:
    history = History.begin()
    full = history.back_up()
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    history.apply()
    assert full.manifest.id not in history.ids
    child = history.back_up(BackupKind.INCR, full)  # begun before, ended after
    done = history.apply()

    assert done.count(Outcome.BROUGHT_BACK) == 1
    assert {full.manifest.id, child.manifest.id} <= restorable(history.repository)


def test_an_old_backup_that_is_copied_here_meanwhile_keeps_its_wal(history: History) -> None:
    history.apply()
    history.clock.pass_time(4 * DAY)
    old = _another_day(history)
    history.repository.delete(layout.manifest_key(old.manifest.backup_id))
    history.clock.pass_time(20 * DAY)
    history.days(70, all_proven=True)
    planned = history.plan()
    assert planned.plan.wal
    store_manifest(history.repository, old.manifest)
    done = history.apply(planned)

    assert done.wal.files == 0
    assert old.manifest.id in restorable(history.repository)
    assert any("came meanwhile" in note for note in done.notes)


def test_a_run_that_was_cut_off_before_the_manifest_went_is_mended() -> None:
    history = History.begin()
    first = history.days(10)[0]
    hold(history.places, history.clock, first.manifest.backup_id, "kept after all")
    text = history.repository.read(layout.manifest_key(first.manifest.backup_id)).decode()
    store_tombstone(
        history.repository,
        (),
        history.clock,
        first.manifest.backup_id,
        PurgeStep.EXPIRED,
        reason="old",
        digest=first.digest,
        manifest=text,
    )
    history.clock.pass_time(9 * DAY)
    _another_day(history)
    history.apply()

    steps = read_steps(history.repository, first.manifest.backup_id, "primary")
    assert steps[-1].step is PurgeStep.UNDELETED
    assert first.manifest.id in restorable(history.repository)


def test_a_clock_far_ahead_makes_nothing_old(history: History) -> None:
    usual = history.plan().plan
    history.clock.pass_time(4000 * DAY)
    planned = history.plan().plan

    # A day is all the store is believed to be late.
    assert planned.at - usual.at <= DAY
    assert len(planned.expire) <= len(usual.expire) + 2


def test_a_backup_from_the_future_makes_nothing_old(history: History) -> None:
    planned = history.plan().plan
    history.back_up(started=history.clock.now() + 3650 * DAY)
    again = history.plan().plan

    assert [each.id for each in again.expire] == [each.id for each in planned.expire]


def test_a_listing_that_silently_ends_too_soon_costs_no_child_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No store should do so; where one does, parents are asked for once more before they go."""
    history = History.begin()
    full, one, two = _with_chain(history)
    hold(history.places, history.clock, two.manifest.backup_id, "audit")
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    with monkeypatch.context() as blind:
        listing = history.repository.list
        blind.setattr(
            history.repository,
            "list",
            lambda prefix, **after: iter(()) if prefix == "incr/" else listing(prefix, **after),
        )
        planned = history.plan()
    assert full.manifest.id in [each.id for each in planned.plan.expire]
    history.apply(planned)

    assert {each.manifest.id for each in (full, one, two)} <= restorable(history.repository)


def test_objects_whose_manifest_was_put_back_meanwhile_stay(history: History) -> None:
    backup = BackupId.parse(history.plan().plan.expire[0].id)
    text = history.repository.read(layout.manifest_key(backup))
    history.apply()
    history.clock.pass_time(4 * DAY)
    _another_day(history)
    planned = history.plan()
    assert str(backup) in planned.plan.purge_now
    history.repository.put(layout.manifest_key(backup), text)
    done = history.apply(planned)

    assert [each.outcome for each in done.dealt if each.backup_id == str(backup)] == [
        Outcome.SPARED
    ]
    assert str(backup) in restorable(history.repository)


def test_wal_that_came_anew_after_the_plan_stays(history: History) -> None:
    history.apply()
    history.clock.pass_time(4 * DAY)
    _another_day(history)
    planned = history.plan()
    first = planned.plan.wal[0].first
    key = layout.wal_key(SYSTEM, first, "0" * 64)
    history.repository.delete(key)
    history.repository.put(key, b"wal")  # pushed again, now
    history.apply(planned)

    assert history.repository.find(key) is not None


def test_a_hole_that_retention_made_is_no_gap_and_any_other_is(history: History) -> None:
    def gaps() -> list[str]:
        listing = ArchiveListing(SEGMENT_BYTES, purged=load_purged_wal(history.repository, SYSTEM))
        for listed in history.repository.list(layout.WAL):
            parts = layout.wal_file_of(listed.key)
            assert parts is not None
            listing.add(parts[1], parts[2], listed.size_bytes)
        return [each.name for each in listing.finish().problems]

    history.apply()
    history.clock.pass_time(4 * DAY)
    _another_day(history)
    history.apply()
    numbers = [
        int(layout.wal_file_of(each.key)[1][16:], 16)  # type: ignore[index]  # all of it is WAL
        for each in history.repository.list(layout.WAL)
    ]
    assert numbers[-1] - numbers[0] + 1 > len(numbers), "there is a hole"
    assert gaps() == []
    lost = segment(numbers[-2]).name
    history.repository.delete(layout.wal_key(SYSTEM, lost, "0" * 64))
    assert gaps() == [lost]


def test_a_proven_backup_that_vanished_is_said_and_one_that_was_let_go_of_is_not(
    history: History,
) -> None:
    history.apply()
    assert history.plan().gathered.vanished == ()
    kept = _another_day(history).manifest
    assert kept.id not in history.plan().gathered.vanished
    history.repository.delete(layout.manifest_key(kept.backup_id))
    _another_day(history)

    planned = history.plan()

    assert planned.gathered.vanished == (kept.id,)
    assert [note for note in planned.plan.notes if kept.id in note]
    offsite = history.others[0]
    moved = history.plan(seen=(offsite, history.repository))
    assert moved.gathered.vanished == (), "it was never proven there"
    # Made anew after a disaster: what is gone is known to be gone.
    marker = Marker(records.SCHEMA_VERSION, "kb", "default", history.clock.now())
    history.repository.put(layout.MARKER, records.to_json(marker))
    assert history.plan().gathered.vanished == ()
