"""Which WAL goes: never what a retained backup, the window or a history is needed for."""

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from kb_dr.domain import plan_wal_retention
from kb_dr.domain.plan_retention import plan_retention, with_wal
from kb_dr.domain.plan_wal_retention import (
    ListedWal,
    WalBoundaries,
    plan_wal,
    wal_boundaries,
)
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, ExpiredBackup, WalRange
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.wal_names import Segment
from kb_dr_tests.made_candidates import at, full, incremental

PROVEN = Standing.PROVEN
NOW = at("2026-11-27 12:30")
DAYS = RetentionPolicy(0, 5, 0, 0, 0, wal_days=2)
LONG_AGO = at("2024-01-01")


def boundaries(
    *backups: Candidate,
    policy: RetentionPolicy = DAYS,
    expired: Iterable[ExpiredBackup] = (),
    now: datetime = NOW,
) -> WalBoundaries:
    gone = tuple(expired)
    made = plan_retention(backups, policy, now, copy="primary", url="file:///b", expired=gone)
    return wal_boundaries(made, backups, policy, gone)


def wal(
    number: int, timeline: int = 1, system: int = 7, modified: datetime = LONG_AGO, end: str = ""
) -> ListedWal:
    return ListedWal(system, Segment(timeline, number).name + end, 100, modified)


def first(backup: Candidate) -> int:
    return backup.segments[0].number


def last(backup: Candidate) -> int:
    return backup.segments[1].number


def test_wal_stays_from_the_start_of_the_oldest_retained_daily_backup_on() -> None:
    oldest = full("2026-11-22 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    found = boundaries(oldest, newest)

    assert found.keeps(wal(first(oldest)))
    assert found.keeps(wal(first(oldest) + 500))
    assert found.keeps(wal(10**9))
    assert not found.keeps(wal(first(oldest) - 1))


def test_wal_on_later_timelines_is_needed_and_on_earlier_ones_is_not() -> None:
    oldest = full("2026-11-22 02:00", timeline=3)
    newest = full("2026-11-26 02:00", PROVEN, timeline=3)

    found = boundaries(oldest, newest)

    assert found.keeps(wal(first(oldest) + 1, timeline=4))
    assert not found.keeps(wal(first(oldest) - 1, timeline=4))
    assert not found.keeps(wal(first(oldest) + 1, timeline=2))


def test_the_oldest_of_each_timeline_counts_and_those_before_it() -> None:
    later = full("2026-11-22 02:00", timeline=3)
    earlier = full("2026-11-23 02:00", timeline=2)
    newest = full("2026-11-26 02:00", PROVEN, timeline=3)

    found = boundaries(later, earlier, newest)

    assert found.keeps(wal(last(later) + 5, timeline=3))
    assert found.keeps(wal(last(earlier) + 5, timeline=2))
    assert not found.keeps(wal(first(earlier) - 1, timeline=2))
    assert not found.keeps(wal(first(later) - 1, timeline=3))


def test_what_the_store_took_shortly_before_stays_whatever_it_is() -> None:
    oldest = full("2026-11-22 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    found = boundaries(oldest, newest)

    assert found.keeps(wal(1, modified=oldest.started - timedelta(days=2)))
    assert not found.keeps(wal(1, modified=oldest.started - timedelta(days=2, seconds=1)))


def test_an_older_retained_backup_keeps_what_makes_it_consistent_and_no_more() -> None:
    held = full("2026-01-10 02:00", held="case 7", minutes=20)
    oldest = full("2026-11-22 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    found = boundaries(held, oldest, newest)

    assert last(held) - first(held) == 4
    needed = [found.keeps(wal(number)) for number in range(first(held) - 1, last(held) + 2)]
    assert needed == [False, True, True, True, True, True, False]
    assert not found.keeps(wal(first(held), timeline=2))


def test_a_long_backup_keeps_its_wal_though_a_shorter_one_lies_within() -> None:
    long = full("2026-01-10 02:00", held="case 7", minutes=60)
    short = full("2026-01-10 02:10", held="case 7")
    newest = full("2026-11-26 02:00", PROVEN)

    found = boundaries(long, short, newest)

    assert found.keeps(wal(last(long)))
    assert not found.keeps(wal(last(long) + 1))


def test_a_daily_backup_that_no_proof_lets_go_of_keeps_all_wal_behind_it() -> None:
    old = full("2026-11-10 02:00", PROVEN)
    newest = full("2026-11-26 02:00")

    found = boundaries(old, newest)

    assert found.keeps(wal(last(old) + 5))
    assert not found.keeps(wal(first(old) - 1))


def test_a_daily_backup_kept_as_monthly_holds_the_window_until_something_newer_is_proven() -> None:
    policy = RetentionPolicy(0, 5, 0, 12, 0, wal_days=0)
    month = full("2026-10-01 02:00", PROVEN)
    newest = full("2026-11-26 02:00")

    assert boundaries(month, newest, policy=policy).keeps(wal(last(month) + 5))
    proven = replace(newest, standing=PROVEN)
    assert not boundaries(month, proven, policy=policy).keeps(wal(last(month) + 5))


def test_wal_stays_from_the_newest_proven_backup_on() -> None:
    base = full("2026-11-19 02:00")
    proven = incremental("2026-11-20 02:00", base, PROVEN)
    daily = full("2026-11-20 23:00")
    newest = full("2026-11-26 02:00")

    found = boundaries(base, proven, daily, newest)

    assert found.keeps(wal(first(proven)))


def test_wal_of_what_can_still_be_brought_back_stays() -> None:
    now_expiring = full("2026-11-10 02:00", minutes=20)
    gone = full("2026-01-10 02:00", minutes=20)
    over = full("2026-01-09 02:00", minutes=20)
    newest = full("2026-11-26 02:00", PROVEN)

    found = boundaries(
        now_expiring,
        newest,
        expired=[ExpiredBackup(gone, at("2026-11-26")), ExpiredBackup(over, at("2026-11-01"))],
    )

    assert found.keeps(wal(last(now_expiring)))
    assert found.keeps(wal(last(gone)))
    assert not found.keeps(wal(last(gone) + 1))
    assert not found.keeps(wal(first(over)))


def test_wal_of_a_recovery_point_reaches_back_to_what_it_is_replayed_from() -> None:
    base = full("2026-10-20 02:00")
    point = replace(
        incremental("2026-11-23 02:00", base),
        wal=(base.segments[0], full("2026-11-23 02:00").segments[1]),
    )
    newest = full("2026-11-26 02:00", PROVEN)

    found = boundaries(base, point, newest)

    assert found.keeps(wal((first(base) + last(point)) // 2))


def test_labels_and_partials_go_with_the_segment_they_are_named_after() -> None:
    oldest = full("2026-11-22 02:00")
    newest = full("2026-11-26 02:00", PROVEN)
    found = boundaries(oldest, newest)

    for end in (".00000028.backup", ".partial"):
        assert found.keeps(wal(first(oldest), end=end))
        assert not found.keeps(wal(first(oldest) - 1, end=end))


def test_histories_and_what_is_no_wal_always_stay() -> None:
    found = boundaries(full("2026-11-26 02:00", PROVEN, timeline=5))

    for name in ("00000002.history", "00000005.history", "000000010000000000000001.tmp", "x"):
        assert found.keeps(ListedWal(7, name, 1, LONG_AGO))
    assert found.keeps(ListedWal(7, "0000000100000000FFFFFFFF", 1, LONG_AGO))


def test_a_cluster_without_backups_is_left_alone_and_named() -> None:
    newest = full("2026-11-26 02:00", PROVEN, system=8)
    files = [wal(number, system=7) for number in range(3)]

    ranges, notes = plan_wal(files, boundaries(newest))

    assert ranges == ()
    assert notes == (
        "3 WAL files of cluster 7 are left alone: no backup here tells what they are needed for",
    )


def test_an_upgraded_cluster_keeps_the_wal_of_the_old_one_while_it_is_in_the_window() -> None:
    before = full("2026-11-22 02:00", timeline=4, system=7)
    after = full("2026-11-26 02:00", PROVEN, system=8)

    found = boundaries(before, after)

    assert found.keeps(wal(first(before) + 100, timeline=4, system=7))
    assert not found.keeps(wal(first(before) - 1, timeline=4, system=7))
    assert not found.keeps(wal(first(after) - 1, system=8))


def test_the_newest_of_each_cluster_keeps_all_wal_behind_it() -> None:
    """Though the window of daily backups is another cluster's, or of a clock that was ahead."""
    live = full("2026-10-01 02:00", system=7)
    other = full("2026-11-26 02:00", PROVEN, system=8)

    found = boundaries(live, other, policy=RetentionPolicy(0, 5, 0, 12, 0, wal_days=2))

    assert found.keeps(wal(last(live) + 500, system=7))
    assert not found.keeps(wal(first(live) - 1, system=7))


def test_the_wal_of_a_cluster_goes_with_the_last_backup_of_it() -> None:
    last_one = ExpiredBackup(full("2026-01-10 02:00"), at("2026-11-01"))
    newest = full("2026-11-26 02:00", PROVEN, system=8)

    found = boundaries(newest, expired=[last_one])

    assert not found.keeps(wal(first(last_one.backup)))


def test_a_cluster_with_segments_of_two_sizes_is_left_alone() -> None:
    old = full("2026-01-10 02:00", held="case 7")
    small = replace(old, wal=(Segment(1, 5, 1024 * 1024), Segment(1, 6, 1024 * 1024)))
    newest = full("2026-11-26 02:00", PROVEN)

    assert boundaries(small, newest).keeps(wal(1))


def test_no_wal_goes_when_nothing_goes() -> None:
    newest = full("2026-11-26 02:00", PROVEN)
    made = plan_retention(
        [newest], DAYS, NOW, copy="primary", url="file:///b", stops=("a listing broke off",)
    )

    found = wal_boundaries(made, [newest], DAYS)

    assert plan_wal([wal(1)], found) == ((), ("no WAL goes: nothing goes",))


def test_no_wal_goes_where_no_daily_backup_is_retained() -> None:
    newest = full("2026-11-26 02:00", PROVEN)
    policy = RetentionPolicy(24, 0, 12, 12, 7)

    ranges, notes = plan_wal([wal(1)], boundaries(newest, policy=policy))

    assert (ranges, notes) == (
        (),
        ("no WAL goes: no daily backup is retained, so all WAL is",),
    )


def test_what_goes_is_told_in_ranges_that_no_kept_file_lies_in() -> None:
    held = full("2026-01-10 02:00", held="case 7")
    oldest = full("2026-11-22 02:00", timeline=2)
    newest = full("2026-11-26 02:00", PROVEN, timeline=2)
    begin = first(held)
    files = [wal(number) for number in range(begin - 3, begin + 6)]
    files += [ListedWal(7, "00000002.history", 1, LONG_AGO)]
    files += [wal(number, timeline=2) for number in range(first(oldest) - 2, first(oldest) + 4)]

    ranges, notes = plan_wal(files, boundaries(held, oldest, newest))

    def name(number: int, timeline: int = 1) -> str:
        return Segment(timeline, number).name

    assert notes == ()
    assert ranges == (
        WalRange(7, 1, name(begin - 3), name(begin - 1), 3, 300),
        WalRange(7, 1, name(begin + 1), name(begin + 5), 5, 500),
        WalRange(7, 2, name(first(oldest) - 2, 2), name(first(oldest) - 1, 2), 2, 200),
    )


def test_ranges_are_bounded_and_the_rest_goes_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_wal_retention, "MOST_RANGES", 2)
    newest = full("2026-11-26 02:00", PROVEN)
    files = [wal(number, modified=LONG_AGO if number % 2 else NOW) for number in range(10)]

    ranges, notes = plan_wal(files, boundaries(newest))

    assert [each.first for each in ranges] == [Segment(1, 1).name, Segment(1, 3).name]
    assert notes == ("3 more WAL files go the next time: they stand in too many places",)


def test_a_listing_out_of_order_is_refused() -> None:
    found = boundaries(full("2026-11-26 02:00", PROVEN))

    with pytest.raises(ValueError, match="out of order"):
        plan_wal([wal(2), wal(1)], found)


def test_the_fingerprint_covers_the_wal() -> None:
    newest = full("2026-11-26 02:00", PROVEN)
    made = plan_retention([newest], DAYS, NOW, copy="primary", url="file:///b")
    gone = WalRange(7, 1, Segment(1, 1).name, Segment(1, 2).name, 2, 200)

    assert with_wal(made, ()).fingerprint == made.fingerprint
    assert with_wal(made, [gone]).fingerprint != made.fingerprint
    assert with_wal(made, [gone], ["said"]).notes == ("said",)


def test_a_million_files_are_planned_in_memory_that_does_not_grow() -> None:
    oldest = full("2026-11-22 02:00")
    found = boundaries(oldest, full("2026-11-26 02:00", PROVEN))

    def peak(count: int) -> int:
        tracemalloc.start()
        ranges, _ = plan_wal((wal(number) for number in range(count)), found)
        measured = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(each.files for each in ranges) == min(count, first(oldest))
        return measured

    few, many = peak(100), peak(20_000)

    assert many < few + 64 * 1024
