"""Which periods a backup represents, and what a tier sheds it for."""

from dataclasses import replace

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention_policy import RetentionPolicy, Tier
from kb_dr_tests.made_candidates import DAYS, NOW, at, full, incremental, kept, plan, why

PROVEN, FAILED, VOID = Standing.PROVEN, Standing.FAILED, Standing.VOID


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
