"""What comes between a plan and its end: copies, cuts, clocks, listings, WAL."""

from datetime import timedelta

import pytest

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.domain.wal_archive import ArchiveListing
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.holds import hold
from kb_dr.operations.initialise import Marker
from kb_dr.operations.purge_backup import Outcome
from kb_dr.operations.purged_wal import load_purged_wal
from kb_dr.operations.tombstones import read_steps, store_tombstone
from kb_dr_tests.made_history import History, restorable
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment

DAY = timedelta(days=1)


@pytest.fixture
def history() -> History:
    """Three weeks of daily backups, the newest proven."""
    made = History.begin(others=("offsite",))
    made.days(21)
    return made


def test_an_old_backup_that_is_copied_here_meanwhile_keeps_its_wal(history: History) -> None:
    history.apply()
    history.clock.pass_time(4 * DAY)
    old = history.another_day()
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
    history.another_day()
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
    full, one, two = history.chain()
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
    history.another_day()
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
    history.another_day()
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
    history.another_day()
    history.apply()
    numbers = [
        int(file[1][16:], 16)
        for each in history.repository.list(layout.WAL)
        if (file := layout.wal_file_of(each.key)) is not None
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
    kept = history.another_day().manifest
    assert kept.id not in history.plan().gathered.vanished
    history.repository.delete(layout.manifest_key(kept.backup_id))
    history.another_day()

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
