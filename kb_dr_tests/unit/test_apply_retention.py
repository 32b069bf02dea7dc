"""Retention applied: what goes, in which order, and what keeps it from going."""

from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Verdict
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import (
    NoUsableBackup,
    RepositoryUnavailable,
    RetentionBlocked,
)
from kb_dr.operations.copy_look import CopyLook
from kb_dr.operations.holds import hold, release
from kb_dr.operations.plan_copy_retention import plan_copy_retention
from kb_dr.operations.proofs import gather_proofs
from kb_dr.operations.purge_backup import Outcome
from kb_dr.operations.tombstones import read_steps
from kb_dr_tests.made_history import POLICY, History, restorable

DAY = timedelta(days=1)


@pytest.fixture
def history() -> History:
    """Three weeks of daily backups, the newest proven."""
    made = History.begin(others=("offsite",))
    made.days(21)
    return made


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
    history.another_day()
    history.apply()
    for backup in going:
        assert list(history.repository.list(layout.backup_prefix(backup)))
    history.clock.pass_time(2 * DAY)
    history.another_day()
    history.apply()
    for backup in going:
        assert not list(history.repository.list(layout.backup_prefix(backup)))
        steps = read_steps(history.repository, backup, "primary")
        assert [each.step for each in steps] == [PurgeStep.EXPIRED, PurgeStep.PURGED]
        assert read_steps(history.others[0], backup, "primary") == steps


def test_wal_goes_last_and_only_what_nothing_needs(history: History) -> None:
    planned = history.plan()
    history.apply(planned)
    history.clock.pass_time(4 * DAY)
    history.another_day()
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

    def put_and_hold(key: str, body: bytes, *, digest: bool = True) -> object:
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
    history.another_day()
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


def test_nothing_goes_by_a_plan_that_was_made_to_be_shown(history: History) -> None:
    look = CopyLook(gather_proofs(history.places, history.repository.name))
    planned = plan_copy_retention(
        history.repository, history.places, history.clock, POLICY, service="kb", look=look
    )
    before = dict(history.repository.bodies)

    assert planned.plan.expire, "something has to go for this to show anything"
    with pytest.raises(RetentionBlocked, match="made to be shown"):
        history.apply(planned)
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
    history.another_day()
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
    history.undelete(name)

    assert name in restorable(history.repository)
    assert history.repository.read(layout.manifest_key(BackupId.parse(name))) == text
    history.undelete(name)  # again is a success
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
        history.undelete("kb-full-20250101-000000")
    history.apply()
    history.clock.pass_time(3 * DAY)
    with pytest.raises(NoUsableBackup, match="its time was over"):
        history.undelete(name)
    assert name not in history.ids
    history.clock.pass_time(DAY)
    history.another_day()
    history.apply()
    with pytest.raises(NoUsableBackup, match="its objects went"):
        history.undelete(name, until=None)


def test_what_has_lost_an_object_does_not_come_back(history: History) -> None:
    name = history.plan().plan.expire[0].id
    history.apply()
    history.repository.delete(layout.chunk_key(BackupId.parse(name), "a1", 1))

    with pytest.raises(NoUsableBackup, match="1 of its objects"):
        history.undelete(name)
    assert name not in history.ids
