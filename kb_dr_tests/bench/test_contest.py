"""The contest's arithmetic."""

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
from kb_dr_tests.bench.goals import quickest

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


def test_the_quickest_peer_of_a_work_is_the_one_we_are_held_against() -> None:
    tries = [tried(US, 4.0), tried("slow", 9.0), tried("quick", 2.0)]

    (found,) = quickest(duels(standings(tries)))

    assert (found.peer.contestant, found.seconds_ratio) == ("quick", 2.0)


def test_idle_is_told_as_part_of_one_core() -> None:
    assert Idle(60.0, {"daemon": 2.0, "code server": 1.0}).cores == pytest.approx(0.05)
