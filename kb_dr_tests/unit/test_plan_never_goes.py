"""What never goes, when nothing goes, and times and ids that are out of the ordinary."""

from dataclasses import replace
from datetime import timedelta

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.hold import HoldAction, HoldEvent
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import ExpiredBackup
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr_tests.made_candidates import NOW, at, full, incremental, kept, plan, why

PROVEN, FAILED, VOID = Standing.PROVEN, Standing.FAILED, Standing.VOID


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
    assert why(made, dump) == "a backup of kind dump: only full and incr are planned here"


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
