"""A target means one state, or is refused with what is wrong about it: gaps, forks, histories."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from struct import pack

import pytest

from kb_dr.domain.layout import manifest_key, wal_key
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recoverable_window import nearest
from kb_dr.domain.recovery_target import AtLsn, AtName, AtTime, parse_name, parse_time
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import NoUsableBackup, TargetUnreachable, TimelineForked, WalDamaged, WalGap
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr_tests.made_archive import CODEC, Archive, minute
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER
from kb_dr_tests.stored_backups import store_objects


@pytest.fixture
def archive() -> Archive:
    return Archive()


def test_replay_stops_behind_the_last_commit_up_to_the_time(archive: Archive) -> None:
    plan = archive.plan(AtTime(minute(2.2)))

    assert archive.ends[2] < plan.expected_end <= archive.start_of(6)
    assert plan.newest_commit == minute(2)
    assert plan.last_segment == Segment(1, 6, SEGMENT_BYTES).name, "which holds the next commit"
    assert plan.timeline == plan.expected_timeline == 1


def test_a_commit_at_that_very_time_belongs_to_it_unless_excluded(archive: Archive) -> None:
    assert archive.plan(AtTime(minute(2))).newest_commit == minute(2)
    assert archive.plan(AtTime(minute(2), inclusive=False)).newest_commit == minute(1)


def test_a_restore_point_is_found_by_its_name(archive: Archive) -> None:
    plan = archive.plan(AtName("before the migration"))

    assert plan.expected_end == archive.point
    assert plan.newest_commit == minute(2)


def test_a_backups_own_point_is_found_in_its_manifest(archive: Archive) -> None:
    manifest = archive.stored[0].manifest

    assert (
        archive.plan(AtName(manifest.fingerprint.restore_point)).expected_end == manifest.wal.stop
    )


def test_an_lsn_stops_behind_the_record_that_begins_there(archive: Archive) -> None:
    assert archive.plan(AtLsn(archive.ends[2])).expected_end == archive.point
    assert archive.plan(AtLsn(archive.ends[2], inclusive=False)).expected_end == archive.ends[2]


def test_a_time_in_a_gap_is_refused_with_both_sides_of_it(archive: Archive) -> None:
    archive.remove(5)

    with pytest.raises(TargetUnreachable, match=r"in a gap .*000000010000000000000005"):
        archive.plan(AtTime(minute(2)))

    assert archive.plan(AtTime(minute(0.5))).newest_commit == minute(0)
    [window] = list_recovery_windows(archive.repository, CODEC)
    assert window.ended_by == "gap: 000000010000000000000005 is missing"
    near = nearest([window], AtTime(minute(2)))
    assert near.before is not None
    assert (near.before.ends_at, near.after) == (minute(1), None)


def test_a_time_behind_a_gap_is_refused_unless_a_backup_stands_behind_it(archive: Archive) -> None:
    archive.remove(4)

    with pytest.raises(WalGap, match=r"000000010000000000000004 is missing behind kb-full"):
        archive.plan(AtTime(minute(3.5)))


def test_an_lsn_in_a_gap_is_refused(archive: Archive) -> None:
    archive.remove(5)

    with pytest.raises(TargetUnreachable, match="in a gap"):
        archive.plan(AtLsn(archive.start_of(5).plus(100)))


def test_what_lies_behind_the_target_does_no_harm(archive: Archive) -> None:
    archive.remove(7)
    archive.repository.bodies[archive.keys[Segment(1, 8, SEGMENT_BYTES).name]] = b""

    assert archive.plan(AtTime(minute(1.5))).newest_commit == minute(1)


def test_an_empty_segment_before_the_target_is_damage(archive: Archive) -> None:
    archive.repository.bodies[archive.keys[Segment(1, 3, SEGMENT_BYTES).name]] = b""

    with pytest.raises(WalDamaged, match="zero bytes"):
        archive.plan(AtTime(minute(3.5)))


def test_a_time_before_the_backup_is_refused_though_nothing_was_committed_since(
    archive: Archive,
) -> None:
    with pytest.raises(NoUsableBackup, match="before every backup"):
        archive.plan(AtTime(minute(-60)))


def test_idle_segments_do_not_hide_the_next_commit() -> None:
    archive = Archive([0, *[None] * 9, 30])

    plan = archive.plan(AtTime(minute(20)))

    assert plan.newest_commit == minute(0)
    assert plan.last_segment == Segment(1, 13, SEGMENT_BYTES).name


def test_the_timeline_that_was_written_then_is_followed(archive: Archive) -> None:
    # Timeline 2 took over at minute 1, and was first written half an hour later.
    archive.fork(2, archive.start_of(5), [minute(30), minute(31)])

    before = archive.plan(AtTime(minute(3.5)))
    after = archive.plan(AtTime(minute(30.5)))

    assert (before.timeline, before.newest_commit) == (1, minute(3))
    assert any("timeline 2 had not begun" in note for note in before.notes)
    assert (after.timeline, after.newest_commit) == (2, minute(30))
    assert [file.name for file in after.segments][-2:] == [
        Segment(2, 5, SEGMENT_BYTES).name,
        Segment(2, 6, SEGMENT_BYTES).name,
    ]


def test_a_time_on_another_timelines_future_is_refused(archive: Archive) -> None:
    archive.fork(2, archive.start_of(5), [minute(30), minute(31)])

    with pytest.raises(TimelineForked, match="future of timeline 1") as refused:
        archive.plan(AtTime(minute(3.5)), timeline=2)

    assert "timeline 2 left 1 at" in refused.value.hint
    assert archive.plan(AtTime(minute(0.5)), timeline=2).newest_commit == minute(0), "shared past"


def test_between_two_timelines_nobody_guesses(archive: Archive) -> None:
    # Timeline 1 went on to minute 5; of that, timeline 2 took over what was there at minute 1.
    archive.fork(2, archive.start_of(5), [minute(30), minute(31)])

    with pytest.raises(TimelineForked, match="nothing was written then") as refused:
        archive.plan(AtTime(minute(20)))

    assert "--latest --target-timeline 1" in refused.value.hint
    plan = archive.plan(AtTime(minute(20)), timeline=2)
    assert (plan.timeline, plan.newest_commit) == (2, None)


def test_between_two_timelines_that_follow_one_another_the_state_is_clear(
    archive: Archive,
) -> None:
    archive.fork(2, archive.start_of(9), [minute(30), minute(31)])

    plan = archive.plan(AtTime(minute(20)))

    assert plan.timeline == 2
    assert any("had committed nothing of its own yet" in note for note in plan.notes)


def test_two_timelines_written_at_once_are_told_apart_by_who_asks(archive: Archive) -> None:
    archive.fork(2, archive.start_of(5), [minute(2.1), minute(4.1)])

    with pytest.raises(TimelineForked, match="another state on each of timelines 1 and 2"):
        archive.plan(AtTime(minute(3.5)))

    assert archive.plan(AtTime(minute(3.5)), timeline=1).newest_commit == minute(3)
    assert archive.plan(AtTime(minute(3.5)), timeline=2).newest_commit == minute(2.1)


def test_an_lsn_that_two_timelines_have_is_refused_until_one_is_named(archive: Archive) -> None:
    archive.fork(2, archive.start_of(5), [minute(30), minute(31)])
    shared, doubled = archive.ends[0], archive.start_of(6).plus(40)

    assert archive.plan(AtLsn(shared)).timeline == 1
    with pytest.raises(TimelineForked, match="timelines 1 and 2"):
        archive.plan(AtLsn(doubled))
    assert archive.plan(AtLsn(doubled), timeline=2).timeline == 2
    assert archive.plan(AtLsn(doubled), timeline=1).timeline == 1


def test_a_timeline_without_its_history_is_named(archive: Archive) -> None:
    archive.fork(2, archive.start_of(9), [minute(30), minute(31)])
    archive.repository.delete(archive.keys["00000002.history"])

    with pytest.raises(TargetUnreachable, match="history file of timeline 2 is missing"):
        archive.plan(AtTime(minute(30.5)))


def test_a_timeline_that_is_not_there_is_refused(archive: Archive) -> None:
    with pytest.raises(TimelineForked, match="no such timeline here, expected one of 1"):
        archive.plan(AtTime(minute(1)), timeline=7)


def test_each_timeline_that_goes_its_own_way_is_a_window(archive: Archive) -> None:
    archive.fork(2, archive.start_of(5), [minute(30), minute(31)])

    windows = list_recovery_windows(archive.repository, CODEC)

    assert [(each.timeline, each.ends_at) for each in windows] == [(1, minute(5)), (2, minute(31))]


def test_times_a_little_out_of_order_do_not_lead_past_the_first_that_is_later() -> None:
    # A session took its time, and another one wrote its commit in between.
    archive = Archive([0, 1, 2.5, 2.4, 3, 4])

    plan = archive.plan(AtTime(minute(2.45)))

    assert plan.newest_commit == minute(1), "PostgreSQL stops at the first one that is later"


def _fork_inside_a_segment(archive: Archive) -> Lsn:
    """Timeline 2 left timeline 1 behind the commit of minute 2, in the middle of segment 5."""
    writer = archive.writer(2, 5)
    writer.commit(minute(2))
    fork = Lsn(writer.restore_point("before the migration", minute(2.5)))
    archive.put("00000002.history", f"1\t{fork}\tno reason\n".encode())
    for moment in (30, 31):
        writer.commit(minute(moment))
        writer.switch()
    archive.store(writer)
    return fork


def test_what_a_timeline_copied_from_its_parent_is_the_parents(archive: Archive) -> None:
    fork = _fork_inside_a_segment(archive)

    assert archive.plan(AtTime(minute(1.5))).timeline == 1
    assert archive.plan(AtName("before the migration")).timeline == 1
    assert archive.plan(AtLsn(fork, inclusive=False), timeline=2).timeline == 2
    with pytest.raises(TimelineForked, match="nothing was written then"):
        archive.plan(AtTime(minute(20)))


def test_a_backup_of_another_future_does_not_serve_the_target(archive: Archive) -> None:
    writer = archive.fork(2, archive.start_of(4), [minute(30)])
    archive.back_up(writer, minute(40))
    archive.store(writer)

    plan = archive.plan(AtTime(minute(4.5)))

    assert plan.stored == archive.stored[0]
    archive.stored = archive.stored[1:]
    with pytest.raises(TimelineForked, match="which no backup here leads to"):
        archive.plan(AtTime(minute(4.5)))


def test_the_nearest_states_lie_on_either_side_and_not_around(archive: Archive) -> None:
    [early] = list_recovery_windows(archive.repository, CODEC)
    around = replace(early, begins_at=minute(-60), ends_at=minute(600), timeline=9)
    late = replace(
        early,
        begins_at=minute(60),
        ends_at=minute(90),
        begins_lsn=Lsn(1 << 40),
        ends_lsn=Lsn(1 << 42),
    )
    later = replace(late, begins_at=minute(70), begins_lsn=Lsn(1 << 41))

    at_time = nearest([later, early, around, late], AtTime(minute(30)))
    at_lsn = nearest([later, early, late], AtLsn(Lsn(1 << 39)))

    assert (at_time.before, at_time.after) == (early, late)
    assert (at_lsn.before, at_lsn.after) == (early, late)
    assert nearest([early], AtName("a")) == nearest([], AtTime(minute(0)))


def test_a_server_that_has_been_quiet_since_its_backup_knows_no_time_to_stop_at() -> None:
    archive = Archive([None, None])
    manifest = archive.stored[0].manifest

    with pytest.raises(NoUsableBackup, match="before every backup"):
        archive.plan(AtTime(manifest.started - timedelta(seconds=1)))
    with pytest.raises(TargetUnreachable, match=r"newest archived commit .*there is none yet"):
        archive.plan(AtTime(manifest.finished + timedelta(seconds=1)))


def test_a_clock_that_was_set_back_stops_replay_at_the_first_commit_that_is_later() -> None:
    # After minute 5 the server's clock was set back by four minutes.
    archive = Archive([0, 1, 2, 3, 4, 5, 1.5, 2.5, 3.5, 4.5, 5.5])

    plan = archive.plan(AtTime(minute(3.2)))

    assert plan.newest_commit == minute(3), "so PostgreSQL does, which looks at each in turn"
    assert plan.last_segment == Segment(1, 7, SEGMENT_BYTES).name


def test_no_time_within_two_clocks_of_a_backup_is_taken_for_behind_it() -> None:
    archive = Archive([30, 31])
    finished = archive.stored[0].manifest.finished

    with pytest.raises(NoUsableBackup, match="nearer to it than clocks can tell"):
        archive.plan(AtTime(finished + timedelta(seconds=60)))
    assert archive.plan(AtTime(finished + timedelta(seconds=180))).newest_commit is None


def test_two_restore_points_of_one_name_are_refused_with_where_they_stand() -> None:
    archive = Archive([0, 1, 2, 3])
    number, last = 7, Lsn(0)
    writer = archive.writer(1, number)
    last = Lsn(writer.restore_point("before the migration", minute(90)))
    writer.switch()
    archive.store(writer)

    with pytest.raises(TargetUnreachable, match="2 restore points have that name") as refused:
        archive.plan(AtName("before the migration"))

    assert str(archive.point) in str(refused.value)
    assert str(last) in str(refused.value)
    assert archive.plan(AtLsn(archive.point, inclusive=False)).expected_end == archive.point


def test_damage_where_the_search_only_looks_on_its_way_does_no_harm() -> None:
    archive = Archive(range(12))
    for number in (8, 9, 10):
        archive.repository.bodies[archive.keys[Segment(1, number, SEGMENT_BYTES).name]] = b""

    assert archive.plan(AtTime(minute(1.5))).newest_commit == minute(1)


def test_damage_on_a_line_nobody_asked_for_does_no_harm(archive: Archive) -> None:
    archive.fork(2, archive.start_of(5), [minute(30), minute(31)])
    archive.fork(3, archive.start_of(4), [minute(60), minute(61)])
    for number in (4, 5):
        key = archive.keys.get(Segment(3, number, SEGMENT_BYTES).name)
        if key is not None:
            archive.repository.bodies[key] = b""

    assert archive.plan(AtTime(minute(30.5)), timeline=2).newest_commit == minute(30)


def test_a_backup_whose_history_is_lost_is_a_gap_and_no_crash(archive: Archive) -> None:
    writer = archive.fork(2, archive.start_of(9), [minute(30), minute(31), minute(32)])
    archive.stored.clear()
    archive.back_up(writer, minute(33))
    writer.commit(minute(40))
    writer.commit(minute(41))
    archive.store(writer)
    archive.repository.delete(archive.keys["00000002.history"])

    with pytest.raises((WalGap, TargetUnreachable), match="history file of timeline 2 is missing"):
        archive.plan(AtTime(minute(40.5)))


def test_an_ancestor_that_went_farther_than_was_taken_over_is_not_passed_over(
    archive: Archive,
) -> None:
    # Timeline 2 left timeline 1 before its end and committed nothing; timeline 3 goes on from it.
    fork = archive.start_of(5)
    archive.fork(2, fork, [])
    history = f"1\t{fork}\tno reason\n2\t{fork.plus(0x1000)}\tno reason\n"
    archive.put("00000003.history", history.encode())
    writer = archive.writer(3, 5)
    writer.record(b"x" * 8000)
    writer.commit(minute(60))
    writer.commit(minute(61))
    archive.store(writer)

    with pytest.raises(TimelineForked, match="timeline 1 ended at"):
        archive.plan(AtTime(minute(20)))


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "2026-11-20T25:00:00Z"]
)
def test_a_time_no_calendar_has_is_refused_as_words(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        parse_time(text)


@pytest.mark.parametrize("text", ["", "two\nlines", "x" * 64, "nul\0"])
def test_a_name_no_restore_point_can_be_asked_for_by_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the name of a restore point"):
        parse_name(text)


@pytest.mark.parametrize("meanwhile", ["gone", "changed"])
def test_a_chosen_backup_that_is_lost_meanwhile_is_not_replaced_by_another_clusters(
    archive: Archive, meanwhile: str
) -> None:
    before_the_upgrade = 7_000_000_000_000_000_001
    target = AtLsn(archive.ends[2])
    (newest,) = archive.stored
    here, there = (pack("<Q", each) for each in (SYSTEM_IDENTIFIER, before_the_upgrade))
    for name, key in archive.keys.items():
        plain = CODEC.decode(archive.repository.read(key)).replace(here, there)
        own = wal_key(before_the_upgrade, name, sha256(plain).hexdigest())
        archive.repository.put(own, CODEC.encode(plain))
    made = store_objects(archive.repository, started=minute(-60), attempt="older")
    manifest = replace(
        newest.manifest,
        id=made.id,
        started=made.started,
        source=replace(newest.manifest.source, system_identifier=before_the_upgrade),
    )
    older = store_manifest(archive.repository, manifest)
    archive.stored = [older]
    assert archive.plan(target).system_identifier == before_the_upgrade, "which could serve it, too"

    archive.stored = [older, newest]
    key = manifest_key(newest.manifest.backup_id)
    archive.repository.delete(key)
    if meanwhile == "changed":
        store_manifest(archive.repository, replace(newest.manifest, notes=("another",)))

    with pytest.raises(NoUsableBackup, match=f"read {newest.manifest.id}"):
        archive.plan(target)
