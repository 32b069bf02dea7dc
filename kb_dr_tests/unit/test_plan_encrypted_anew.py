"""A backup that was encrypted anew, beside the one whose bytes it holds."""

from dataclasses import replace

from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate
from kb_dr_tests.made_candidates import full, incremental, kept, plan, why

PROVEN, FAILED, VOID = Standing.PROVEN, Standing.FAILED, Standing.VOID


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


def test_what_is_encrypted_anew_has_the_place_of_the_old_one_in_a_living_period_too() -> None:
    old = full("2026-11-22 02:00", PROVEN)
    newest = full("2026-11-26 02:00", PROVEN)

    made = plan(old, anew(old, PROVEN), newest)

    assert kept(made) == {anew(old).id, newest.id}
    assert why(made, anew(old)) == "daily of 2026-11-22"
