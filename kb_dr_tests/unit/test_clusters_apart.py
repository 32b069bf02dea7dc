"""Two installations with one repository: what one backs up never lets go of what is the other's."""

from datetime import timedelta

from kb_dr.domain.clusters_apart import plan_each_apart
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, ExpiredBackup, RetentionPlan
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr_tests.made_candidates import at, full, kept
from kb_dr_tests.made_history import History

PROVEN = Standing.PROVEN
DAYS = RetentionPolicy(0, 5, 0, 0, 0)
OURS = [full(f"2026-11-{day} 02:00") for day in range(19, 27)]
THEIRS = [full(f"2026-11-{day} 02:30", PROVEN, system=8) for day in range(19, 27)]


def plan(*candidates: Candidate, expired: tuple[ExpiredBackup, ...] = ()) -> RetentionPlan:
    now = at("2026-11-27 12:30")
    return plan_each_apart(candidates, DAYS, now, copy="primary", url="file:///b", expired=expired)


def test_what_is_proven_of_one_cluster_lets_go_of_nothing_of_another() -> None:
    made = plan(*OURS, *THEIRS)

    assert kept(made) == {each.id for each in (*OURS, *THEIRS[3:])}
    assert "take turns" in made.notes[0]
    assert made.fingerprint != plan(*OURS, *THEIRS[1:]).fingerprint


def test_what_one_let_go_of_is_not_purged_for_the_others_proof() -> None:
    gone = tuple(
        ExpiredBackup(full(f"2026-11-09 02:{system:02}", system=system), at("2026-11-10 02:00"))
        for system in (17, 7, 8)
    )

    made = plan(*OURS, *THEIRS, expired=gone)

    assert made.purge_now == (gone[2].backup.id,)


def test_a_void_proof_of_one_stops_both() -> None:
    made = plan(*OURS, full("2026-11-26 14:00", Standing.VOID), *THEIRS)

    assert made.stopped
    assert made.expire == ()


def test_an_upgrade_that_was_taken_back_is_no_second_installation() -> None:
    before, upgraded = full("2026-11-19 02:00"), full("2026-11-20 02:00", system=8)
    taken_back, again = full("2026-11-21 02:00"), full("2026-11-26 02:00", PROVEN, system=9)

    assert kept(plan(before, upgraded, taken_back, again)) == {again.id}


def test_two_installations_applied_for_weeks_keep_the_days_of_both() -> None:
    ours = History.begin()
    theirs = History(ours.repository, ours.clock, system=9)
    taken: dict[int, list[str]] = {1: [], 9: []}
    for _ in range(20):
        began = ours.clock.now()
        taken[1].append(ours.back_up().manifest.id)
        ours.clock.pass_time(timedelta(minutes=30))
        stored = theirs.back_up()
        theirs.prove(stored)
        taken[9].append(stored.manifest.id)
        ours.apply()
        ours.clock.set(began + timedelta(days=1))

    left = set(ours.ids)
    assert set(taken[1]) <= left, "nobody proved any of them"
    assert set(taken[9][-7:]) <= left
    assert not set(taken[9]) <= left, "something has to go for this to show anything"
