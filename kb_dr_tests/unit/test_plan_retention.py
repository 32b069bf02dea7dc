"""Each rule of retention by itself: what stays, what goes, and what people are told."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.hold import HoldAction, HoldEvent
from kb_dr.domain.plan_retention import plan_retention
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, ExpiredBackup, RetentionPlan
from kb_dr.domain.retention_policy import RetentionPolicy, Tier
from kb_dr_tests.made_candidates import at, full, incremental, kept, why

PROVEN, FAILED, VOID = Standing.PROVEN, Standing.FAILED, Standing.VOID
NOW = at("2026-11-27 12:30")
DAYS = RetentionPolicy(0, 5, 0, 0, 0)
"""Five days of daily backups and nothing else: 11-22 lives, 11-21 is over."""


def plan(
    *candidates: Candidate, policy: RetentionPolicy = DAYS, now: datetime = NOW, **more: object
) -> RetentionPlan:
    return plan_retention(candidates, policy, now, copy="primary", url="file:///b", **more)  # type: ignore[arg-type]  # tests name what they vary


def test_the_first_full_backup_of_a_period_represents_it() -> None:
    early = full("2026-11-24 02:00")
    late = full("2026-11-24 14:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(late, newest, early)

    assert kept(made) == {early.id, newest.id}
    assert why(made, early) == "daily of 2026-11-24"
    assert why(made, late) == (
        f"represents no hour, day or longer period; newer and proven: {newest.id}"
    )


def test_a_full_backup_goes_before_an_earlier_incremental_one() -> None:
    base = full("2026-11-23 02:00")
    increment = incremental("2026-11-24 01:00", base)
    later = full("2026-11-24 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    assert kept(plan(base, increment, later, newest)) == {base.id, later.id, newest.id}


def test_where_there_is_no_full_backup_the_first_incremental_represents_the_period() -> None:
    base = full("2026-11-22 02:00")
    first = incremental("2026-11-24 01:00", base)
    second = incremental("2026-11-24 02:00", base)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(base, first, second, newest)

    assert kept(made) == {base.id, first.id, newest.id}


def test_one_backup_carries_every_tier_it_serves() -> None:
    sunday_the_first = full("2026-11-01 02:00")
    newest = full("2026-11-27 02:00", PROVEN)

    made = plan(sunday_the_first, newest, policy=RetentionPolicy())

    assert made.decisions[0].tiers == (Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY, Tier.QUARTERLY)
    assert why(made, sunday_the_first) == (
        "daily of 2026-11-01; weekly of 2026-11-01; monthly of 2026-11; quarterly of 2026-Q4"
    )


def test_a_day_lives_until_none_of_it_is_young_enough() -> None:
    begins = full("2026-11-22 00:00")
    over = full("2026-11-21 23:59")
    newest = full("2026-11-26 02:00", PROVEN)

    assert kept(plan(over, begins, newest)) == {begins.id, newest.id}
    assert kept(plan(over, begins, newest, now=at("2026-11-28 00:00"))) == {newest.id}


def test_a_failed_backup_never_represents_anything() -> None:
    bad = full("2026-11-24 02:00", FAILED)
    good = full("2026-11-24 14:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(bad, good, newest)

    assert kept(made) == {good.id, newest.id}
    assert why(made, bad) == f"its proof failed; newer and proven: {newest.id}"


def test_a_failed_backup_stays_while_its_period_has_nothing_else() -> None:
    bad = full("2026-11-24 02:00", FAILED)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(bad, newest)

    assert kept(made) == {bad.id, newest.id}
    assert made.decisions[0].tiers == ()
    assert why(made, bad) == (
        "daily of 2026-11-24 has nothing better, though no restore of this one can succeed as it is"
    )


def test_what_is_built_upon_a_failed_backup_represents_nothing() -> None:
    bad = full("2026-11-23 02:00", FAILED)
    increment = incremental("2026-11-24 01:00", bad, PROVEN)
    good = incremental("2026-11-24 03:00", full("2026-11-23 03:00"))
    base = full("2026-11-23 03:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(bad, increment, base, good, newest)

    assert kept(made) == {base.id, good.id, newest.id}
    assert "chain is broken" in why(made, increment)
    assert any(note.startswith(f"{increment.id} cannot be restored") for note in made.notes)


def test_a_parent_that_was_replaced_is_no_parent() -> None:
    base = full("2026-11-23 02:00")
    increment = incremental("2026-11-24 01:00", base)
    other = replace(base, digest="another")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(other, increment, full("2026-11-24 23:00"), newest)

    assert increment.id not in kept(made)


def test_a_parent_that_is_missing_breaks_the_chain() -> None:
    increment = incremental("2026-11-24 01:00", full("2026-11-23 02:00"))
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(increment, full("2026-11-24 23:00"), newest)

    assert increment.id not in kept(made)
    assert made.notes


def test_backups_built_upon_each_other_are_no_endless_chain() -> None:
    one = full("2026-11-24 01:00", kind=BackupKind.INCR)
    two = incremental("2026-11-24 02:00", one)
    one = replace(one, parent=two.id)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(one, two, full("2026-11-24 05:00"), newest)

    assert kept(made) == {"kb-full-20261124-050000", newest.id}


def test_a_tier_sheds_nothing_while_nothing_newer_in_it_is_proven() -> None:
    old = full("2026-11-20 02:00", PROVEN)
    newer = full("2026-11-24 02:00")
    newest = full("2026-11-26 02:00")

    made = plan(old, newer, newest)

    assert kept(made) == {old.id, newer.id, newest.id}
    assert why(made, old) == (
        "older than 5 days, but nothing newer that serves the daily tier is proven; "
        "the newest proven"
    )
    assert made.decisions[0].owed == (Tier.DAILY,)


def test_a_proof_of_what_represents_nothing_in_a_tier_sheds_nothing_there() -> None:
    policy = RetentionPolicy(0, 2, 2, 0, 0)
    old_week = full("2026-11-01 02:00")
    week = full("2026-11-22 02:00")
    tuesday = full("2026-11-24 02:00", PROVEN)
    newest = full("2026-11-26 02:00")

    made = plan(old_week, week, tuesday, newest, policy=policy)

    # The daily tier has something newer that is proven; the weekly one has not.
    assert kept(made) == {old_week.id, week.id, tuesday.id, newest.id}
    assert why(made, old_week) == (
        "older than 2 weeks, but nothing newer that serves the weekly tier is proven"
    )
    assert old_week.id not in kept(
        plan(old_week, replace(week, standing=PROVEN), tuesday, newest, policy=policy)
    )


def test_the_newest_proof_is_one_of_all_it_is_built_upon() -> None:
    old = full("2026-11-20 02:00")
    base = full("2026-11-26 02:00")
    between = incremental("2026-11-26 03:00", base)
    proven = incremental("2026-11-26 04:00", between, PROVEN)
    newest = full("2026-11-27 02:00")

    made = plan(old, base, between, proven, newest)

    assert kept(made) == {base.id, between.id, proven.id, newest.id}
    assert why(made, old) == (
        f"daily of 2026-11-20 is older than 5 days; newer and proven: {base.id} with {proven.id}"
    )


def test_an_older_proof_says_nothing_of_what_it_was_built_upon() -> None:
    # What was proven may go, and with it all that tells that its base is good.
    policy = RetentionPolicy(0, 2, 3, 0, 0)
    old_week = full("2026-10-18 02:00")
    week = full("2026-11-22 02:00")
    proven = incremental("2026-11-22 03:00", week, PROVEN)
    tuesday = full("2026-11-24 02:00", PROVEN)
    newest = full("2026-11-26 02:00")

    assert old_week.id in kept(plan(old_week, week, proven, tuesday, newest, policy=policy))
    assert old_week.id not in kept(plan(old_week, week, proven, newest, policy=policy))


def test_it_is_told_which_proofs_would_let_the_tiers_shed() -> None:
    policy = RetentionPolicy(0, 2, 2, 0, 0)
    old_week = full("2026-10-18 02:00")
    week = full("2026-11-22 02:00")
    tuesday = full("2026-11-24 02:00")
    newest = full("2026-11-26 02:00")

    made = plan(old_week, week, tuesday, newest, policy=policy)

    assert made.prove_next == (newest.id, week.id)
    assert plan(old_week, week, replace(tuesday, standing=PROVEN), policy=policy).prove_next == (
        week.id,
    )
    assert plan(replace(newest, standing=PROVEN), old_week, policy=DAYS).prove_next == ()


def test_what_goes_names_what_is_proven_in_its_place() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, newest)

    assert kept(made) == {newest.id}
    assert why(made, old) == (
        f"daily of 2026-11-20 is older than 5 days; newer and proven: {newest.id}"
    )


def test_a_proof_of_the_same_moment_is_of_nothing_newer() -> None:
    base = full("2026-11-19 02:00")
    other = incremental("2026-11-20 02:00", base, PROVEN)
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00")

    assert old.id in kept(plan(base, old, other, newest))


def test_what_represents_nothing_goes_only_when_something_newer_is_proven() -> None:
    first = full("2026-11-24 02:00", PROVEN)
    second = full("2026-11-24 14:00")
    newest = full("2026-11-26 02:00")

    made = plan(first, second, newest)

    assert second.id in kept(made)
    assert why(made, second) == "nothing newer is proven"


def test_a_proof_of_the_same_moment_lets_nothing_go() -> None:
    base = full("2026-11-23 02:00")
    proven = full("2026-11-24 02:00", PROVEN)
    same = incremental("2026-11-24 02:00", base)
    newest = full("2026-11-26 02:00")

    made = plan(base, proven, same, newest)

    assert why(made, same) == "nothing newer is proven"


def test_what_ends_in_the_future_is_no_proof_of_anything_newer() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00")
    ahead = full("2026-11-27 12:29", PROVEN)

    made = plan(old, newest, ahead)

    assert kept(made) == {old.id, newest.id, ahead.id}
    assert "a clock was wrong" in why(made, ahead)


def test_the_newest_stays_whatever_is_known_against_it() -> None:
    newest = full("2026-11-26 02:00", FAILED)
    second = full("2026-11-25 14:00")
    proven = full("2026-11-25 02:00", PROVEN)
    now = at("2027-06-01")

    made = plan(proven, second, newest, now=now)

    assert kept(made) == {proven.id, second.id, newest.id}
    assert "the newest" in why(made, newest)
    assert "the newest with nothing against it" in why(made, second)
    assert "the newest proven" in why(made, proven)


def test_the_newest_proven_stays_with_all_it_is_built_upon() -> None:
    base = full("2026-10-02 02:00")
    between = incremental("2026-10-02 03:00", base)
    proven = incremental("2026-10-02 04:00", between, PROVEN)
    newest = full("2026-11-26 02:00")

    made = plan(base, between, proven, newest)

    assert kept(made) == {base.id, between.id, proven.id, newest.id}


def test_a_parent_of_anything_kept_is_kept_and_says_for_whom() -> None:
    base = full("2026-11-19 02:00")
    between = incremental("2026-11-19 03:00", base)
    held = replace(incremental("2026-11-19 04:00", between), holds=full(NOW, held="case").holds)
    other = incremental("2026-11-19 05:00", base)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(base, between, held, other, newest)

    assert kept(made) == {base.id, between.id, held.id, newest.id}
    assert why(made, base) == f"parent of {between.id}, which is kept"
    assert why(made, between) == f"parent of {held.id}, which is kept"


def anew(old: Candidate, standing: Standing = Standing.UNPROVEN, second: int = 1) -> Candidate:
    name = f"{old.id[:-1]}{second}"
    return replace(
        old, id=name, digest=f"digest of {name}", replaces=old.id, standing=standing, holds=()
    )


def test_what_is_encrypted_anew_stays_beside_the_old_one_until_it_is_proven() -> None:
    old = full("2026-11-24 02:00", PROVEN)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, anew(old), newest)

    assert kept(made) == {old.id, anew(old).id, newest.id}
    assert why(made, old) == "daily of 2026-11-24"
    assert why(made, anew(old)) == (
        f"encrypted anew from {old.id}, and takes its place once it is proven"
    )


def test_what_is_encrypted_anew_takes_the_place_of_the_old_one_when_it_is_proven() -> None:
    old = full("2026-11-24 02:00")
    new, newer = anew(old), anew(old, PROVEN, second=2)
    newest = full("2026-11-26 02:00")

    made = plan(old, new, newer, newest)

    assert kept(made) == {newer.id, newest.id}
    assert why(made, newer) == "daily of 2026-11-24; the newest proven"
    assert why(made, old) == f"encrypted anew as {newer.id}, which is proven"


def test_what_was_encrypted_anew_twice_keeps_its_place_when_the_one_between_is_gone() -> None:
    old = full("2026-11-24 02:00", PROVEN, held="case 7")
    between = anew(old, PROVEN)
    last = replace(anew(old, PROVEN, second=2), replaces=between.id)
    newest = full("2026-11-26 02:00", PROVEN)

    assert kept(plan(old, between, last, newest)) == {old.id, last.id, newest.id}
    assert kept(plan(old, last, newest)) == {old.id, last.id, newest.id}


def test_what_is_encrypted_anew_and_fails_takes_no_place() -> None:
    old = full("2026-11-24 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    assert kept(plan(old, anew(old, FAILED), newest)) == {old.id, newest.id}


def test_an_old_one_that_is_held_or_built_upon_stays_beside_the_new_one() -> None:
    old = full("2026-11-24 02:00", held="case 7")
    base = full("2026-11-23 02:00")
    increment = incremental("2026-11-25 03:00", base)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, anew(old, PROVEN), base, anew(base, PROVEN), increment, newest)

    assert made.expire == ()


def test_what_is_encrypted_anew_goes_with_the_old_one() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, anew(old), newest)

    assert kept(made) == {newest.id}
    assert why(made, anew(old)) == f"the same bytes as {old.id}, which goes as well"


def test_nothing_held_goes_until_every_hold_is_released() -> None:
    old = full("2026-11-20 02:00", held="legal case 7")
    newest = full("2026-11-26 02:00", PROVEN)
    release = HoldEvent(1, "r1", old.id, HoldAction.RELEASE, NOW, "over", "ops1", ("h1",))

    made = plan(old, newest)

    assert kept(made) == {old.id, newest.id}
    assert why(made, old) == "held: legal case 7 (ops1, 2026-11-20 02:00:00Z)"
    assert kept(plan(replace(old, holds=(*old.holds, release)), newest)) == {newest.id}
    late = replace(release, releases=("another",))
    assert kept(plan(replace(old, holds=(*old.holds, late)), newest)) == {old.id, newest.id}


def test_what_the_store_has_locked_stays_until_then() -> None:
    old = full("2026-11-20 02:00", locked_until=NOW + timedelta(seconds=1))
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, newest)

    assert kept(made) == {old.id, newest.id}
    assert why(made, old) == "locked until 2026-11-27 12:30:01Z: the store refuses to delete it"
    assert kept(plan(replace(old, locked_until=NOW), newest)) == {newest.id}


def test_nothing_younger_than_a_day_goes() -> None:
    first = full("2026-11-26 12:00")
    second = full("2026-11-26 12:29", minutes=2)
    newest = full("2026-11-27 12:00", PROVEN)

    made = plan(first, second, newest)

    assert kept(made) == {first.id, second.id, newest.id}
    assert why(made, second) == "less than 24 hours old"
    assert second.id not in kept(plan(first, second, newest, now=at("2026-11-27 12:31")))


def test_nothing_goes_while_the_newest_proof_says_failed() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00", PROVEN)
    gone = ExpiredBackup(full("2026-11-10 02:00"), at("2026-11-11"))

    made = plan(old, newest, expired=[gone], stops=("the newest proof FAILED",))

    assert kept(made) == {old.id, newest.id}
    assert (made.purge_now, made.stopped) == ((), True)
    assert made.notes[0] == "nothing goes: the newest proof FAILED"
    assert why(made, old).startswith("nothing goes: the newest proof FAILED; else it would: daily")


def test_nothing_goes_while_any_proof_is_void() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, full("2026-11-25 02:00", VOID), newest)

    assert made.expire == ()
    assert "void" in made.notes[0]


def test_nothing_goes_while_a_manifest_cannot_be_read() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(
        old,
        newest,
        unreadable={"incr/20261124-020000/manifest.json": "no JSON", "kb-odd": "what is it"},
    )

    assert made.expire == ()
    assert [each.id for each in made.decisions] == [
        "kb-odd",
        old.id,
        "incr/20261124-020000/manifest.json",
        newest.id,
    ]
    assert made.decisions[2].reasons == ("its manifest cannot be read: no JSON",)


def test_a_backup_from_the_future_makes_no_other_old() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00")
    ahead = full("2031-01-01 02:00", PROVEN)

    made = plan(old, newest, ahead)

    assert kept(made) == {old.id, newest.id, ahead.id}
    assert "a clock was wrong" in why(made, ahead)
    assert made.decisions[2].tiers == ()


def test_a_clock_far_ahead_of_the_store_is_not_believed() -> None:
    old = full("2026-11-24 02:00")
    newest = full("2026-11-26 02:00", PROVEN)
    stored = at("2026-11-26 02:05")
    wrong = at("2031-01-01")

    made = plan(old, newest, now=wrong, newest_stored=stored)

    assert kept(made) == {old.id, newest.id}
    assert made.at == stored + timedelta(days=1)
    assert any("our clock says 2031-01-01 00:00:00Z" in note for note in made.notes)
    assert kept(plan(old, newest, now=wrong)) == {newest.id}


def test_a_clock_behind_the_store_is_taken_as_it_is() -> None:
    newest = full("2026-11-26 02:00", PROVEN)

    assert plan(newest, newest_stored=at("2031-01-01")).at == NOW


def test_an_upgraded_cluster_begins_anew_and_is_the_newest_all_the_same() -> None:
    old = [full(f"2026-11-{day} 02:00", timeline=9) for day in (20, 23, 24)]
    new = [
        full("2026-11-25 02:00", PROVEN, system=8),
        full("2026-11-26 02:00", system=8),
    ]

    made = plan(*old, *new)

    assert kept(made) == {each.id for each in (*old[1:], *new)}


def test_after_a_month_without_backups_what_there_is_stays() -> None:
    backups = [full(f"2026-10-{day} 02:00", PROVEN) for day in (18, 19, 20)]

    made = plan(*backups, newest_stored=at("2026-10-20 02:10"))

    assert made.expire == ()


def test_thousands_of_backups_in_one_day_leave_one_for_each_hour() -> None:
    begins = at("2026-11-25 00:00")
    crowd = [full(begins + timedelta(seconds=20 * each)) for each in range(4320)]
    newest = full("2026-11-27 02:00", PROVEN)

    made = plan(*crowd, newest, policy=RetentionPolicy(hourly_hours=72))

    assert len(kept(made)) == 24 + 1
    assert {each.started.minute for each in made.decisions if each.keep} == {0}


def test_what_is_no_base_backup_is_left_alone() -> None:
    dump = full("2026-01-20 02:00", kind=BackupKind.DUMP)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(dump, newest)

    assert kept(made) == {dump.id, newest.id}
    assert why(made, dump) == "a backup of kind dump: only base backups are planned here"


def test_two_backups_of_one_id_both_stay() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, replace(old, digest="another"), newest)

    assert made.expire == ()
    assert "2 backups bear this id" in why(made, old)


def test_kinds_may_share_a_second() -> None:
    base = full("2026-11-24 02:00")
    same = incremental("2026-11-24 02:00", base)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(same, base, newest)

    assert kept(made) == {base.id, newest.id}
    assert [each.id for each in made.decisions] == [base.id, same.id, newest.id]


def test_an_empty_copy_has_an_empty_plan() -> None:
    made = plan()

    assert (made.decisions, made.purge_now, made.notes, made.stopped) == ((), (), (), False)


def test_objects_go_when_the_time_to_bring_them_back_is_over() -> None:
    newest = full("2026-11-26 02:00", PROVEN)
    over = ExpiredBackup(full("2026-11-10 02:00"), NOW - timedelta(days=7, seconds=1))
    just = ExpiredBackup(full("2026-11-11 02:00"), NOW - timedelta(days=7))

    made = plan(newest, expired=[just, over])

    assert made.purge_now == (over.backup.id,)
    assert made.notes == ()


def test_what_expired_and_was_held_since_is_not_purged() -> None:
    newest = full("2026-11-26 02:00", PROVEN)
    held = ExpiredBackup(full("2026-11-10 02:00", held="case 7"), at("2026-11-11"))
    locked = ExpiredBackup(
        full("2026-11-10 03:00", locked_until=NOW + timedelta(1)), at("2026-11-11")
    )

    made = plan(newest, expired=[held, locked])

    assert made.purge_now == ()
    assert made.notes == (
        f"{held.backup.id} expired and is not purged: held: case 7",
        f"{locked.backup.id} expired and is not purged: locked until 2026-11-28 12:30:00Z",
    )


def test_what_expired_is_not_purged_while_nothing_newer_is_proven_any_more() -> None:
    gone = ExpiredBackup(full("2026-11-10 02:00"), at("2026-11-11"))

    made = plan(full("2026-11-26 02:00"), full("2026-11-09 02:00", PROVEN), expired=[gone])

    assert made.purge_now == ()
    assert made.notes == (
        f"{gone.backup.id} expired and is not purged: nothing newer is proven any more",
    )


def test_the_objects_of_a_parent_stay_as_long_as_those_of_what_is_built_upon_it() -> None:
    base = full("2026-11-09 02:00")
    between = incremental("2026-11-09 03:00", base)
    last = incremental("2026-11-09 04:00", between)
    early, late = at("2026-11-12"), NOW - timedelta(days=1)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(
        newest,
        expired=[
            ExpiredBackup(base, early),
            ExpiredBackup(between, early),
            ExpiredBackup(last, late),
        ],
    )
    brought_back = plan(
        newest, last, expired=[ExpiredBackup(base, early), ExpiredBackup(between, early)]
    )

    assert made.purge_now == ()
    assert brought_back.purge_now == ()
    assert any(note.startswith(f"{base.id} expired and is not purged") for note in made.notes)


def test_a_backup_that_has_its_manifest_is_not_purged_for_a_tombstone() -> None:
    here = full("2026-11-24 02:00")
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(here, newest, expired=[ExpiredBackup(here, at("2026-11-11"))])

    assert made.purge_now == ()


def test_the_fingerprint_tells_what_goes_and_nothing_else() -> None:
    old = full("2026-11-20 02:00")
    newest = full("2026-11-26 02:00", PROVEN)
    made = plan(old, newest)

    later = plan(old, newest, full("2026-11-27 12:00"), now=NOW + timedelta(minutes=5))
    assert later.fingerprint == made.fingerprint

    others = [
        plan(replace(old, digest="another"), newest),
        plan(replace(old, holds=full(NOW, held="x").holds), newest),
        plan(old, newest, expired=[ExpiredBackup(full("2026-11-10 02:00"), at("2026-11-11"))]),
        plan_retention([old, newest], DAYS, NOW, copy="offsite", url="file:///b"),
        plan_retention([old, newest], DAYS, NOW, copy="primary", url="file:///c"),
    ]
    assert len({made.fingerprint, *(each.fingerprint for each in others)}) == 6


def test_the_order_candidates_come_in_plays_no_part() -> None:
    backups = [full(f"2026-11-{day:02} 02:00") for day in range(1, 26)]
    backups.append(full("2026-11-26 02:00", PROVEN))
    made = plan(*backups)
    random.Random(4).shuffle(backups)

    assert plan(*backups) == made


def test_what_is_encrypted_anew_has_the_place_of_the_old_one_in_a_living_period_too() -> None:
    old = full("2026-11-22 02:00", PROVEN)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, anew(old, PROVEN), newest)

    assert kept(made) == {anew(old).id, newest.id}
    assert why(made, anew(old)) == "daily of 2026-11-22"
