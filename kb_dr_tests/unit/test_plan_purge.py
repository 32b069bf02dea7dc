"""Which objects of expired backups go, and what a plan is known by."""

import random
from dataclasses import replace
from datetime import timedelta

from kb_dr.domain.plan_retention import plan_retention
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import ExpiredBackup
from kb_dr_tests.made_candidates import DAYS, NOW, at, full, incremental, plan

PROVEN, FAILED, VOID = Standing.PROVEN, Standing.FAILED, Standing.VOID


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
