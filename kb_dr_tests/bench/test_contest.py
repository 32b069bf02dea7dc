"""The contest's arithmetic, and that it can be held: tiny, with everybody who can take part."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kb_dr_tests.bench.contest import (
    PLAIN_CP,
    US,
    Idle,
    Try,
    Work,
    duels,
    standings,
)
from kb_dr_tests.bench.contest_run import as_document, best_duels, run_contest, tables

MIB = 1 << 20


def tried(contestant: str, seconds: float, cpu_seconds: float = 1.0, round_: int = 1) -> Try:
    return Try(
        Work.BACKUP, contestant, "directory", 100 * MIB, round_, seconds, cpu_seconds, 10 * MIB
    )


def test_rounds_are_taken_together_by_median_spread_and_greatest_peak() -> None:
    rounds = [
        replace(tried(US, 1.0, 9.0), peak_bytes=30),
        replace(tried(US, 2.0, 8.0, 2), peak_bytes=20),
        replace(tried(US, 30.0, 7.0, 3), peak_bytes=10, stored_bytes=5),
    ]

    (found,) = standings(rounds)

    assert (found.rounds, found.seconds, found.spread) == (3, 2.0, (1.0, 30.0))
    assert (found.cpu_seconds, found.peak_bytes, found.stored_bytes) == (8.0, 30, 5)


@pytest.mark.parametrize(
    "other",
    [
        lambda one: replace(one, work=Work.PROOF),
        lambda one: replace(one, store="S3"),
        lambda one: replace(one, plain_bytes=1),
        lambda one: replace(one, contestant="another"),
    ],
)
def test_what_is_not_the_same_work_is_not_taken_together(other: Callable[[Try], Try]) -> None:
    one = tried(US, 1.0)

    assert len(standings([one, other(one)])) == 2


def test_we_meet_every_peer_that_did_the_same_work_but_not_the_limit() -> None:
    peer = tried("peer", 2.0, 4.0)
    elsewhere = replace(peer, store="S3")

    (duel,) = duels(standings([tried(US, 1.0, 6.0), peer, elsewhere, tried(PLAIN_CP, 0.1)]))

    assert duel.peer.contestant == "peer"
    assert duel.seconds_ratio == pytest.approx(0.5)
    assert duel.cpu_ratio == pytest.approx(1.5)
    assert duel.behind, "less time does not make up for more CPU"


def test_the_best_peer_is_found_for_time_and_for_cpu_by_themselves() -> None:
    tries = [tried(US, 4.0, 4.0), tried("quick", 2.0, 9.0), tried("thrifty", 9.0, 1.0)]

    ((quickest, thriftiest),) = best_duels(standings(tries))

    assert (quickest.peer.contestant, quickest.seconds_ratio) == ("quick", 2.0)
    assert (thriftiest.peer.contestant, thriftiest.cpu_ratio) == ("thrifty", 4.0)


def test_idle_is_told_as_part_of_one_core() -> None:
    assert Idle(60.0, {"daemon": 2.0, "code server": 1.0}).cores == pytest.approx(0.05)


def test_everybody_backs_up_restores_checks_and_proves_in_a_directory() -> None:
    tries, facts = run_contest([10], 1, ["directory"], lambda _: None, seed_entries=1000)

    assert set(facts) == {US, "pgBackRest", "plain pipes"}
    assert {(each.contestant, each.work) for each in tries} == {
        (name, work)
        for name in facts
        for work in (Work.BACKUP, Work.RESTORE, Work.CHECK, Work.PROOF)
    }
    for each in tries:
        assert each.seconds > 0
        assert each.cpu_seconds > 0
        assert each.peak_bytes > MIB
        assert (each.stored_bytes or 0) > MIB or each.work is not Work.BACKUP
    assert all(each.version and each.uneven for each in facts.values())
    assert len(best_duels(standings(tries))) == 4
    assert len(tables(tries)) == 2
    assert len(as_document(tries, facts)["tries"]) == len(tries)
