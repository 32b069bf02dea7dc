"""The heartbeat beats through outages, and what came back of it is held against the WAL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.domain.heartbeat import Beat
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Check, Outcome, Reach, Verdict, judge
from kb_dr.errors import (
    ConfigurationError,
    KbDrError,
    PostgresError,
    PostgresUnavailable,
    VerificationError,
)
from kb_dr.operations.beat import LONGEST_PAUSE_SECONDS, beat
from kb_dr.operations.check_heartbeat import check_heartbeat
from kb_dr_tests.fakes import FakeClock
from kb_dr_tests.unit.test_check_restored import FakeInspection

NEWEST = datetime(2026, 11, 20, 2, tzinfo=UTC)


@dataclass
class FakeTable:
    """A `kb_dr.ports.HeartbeatTable` that answers as the test wrote down, then ends the test."""

    clock: FakeClock
    answers: list[KbDrError | None]
    sessions: int = 0
    beats: list[float] = field(default_factory=list)
    tries: list[float] = field(default_factory=list)

    def install(self) -> bool:
        raise NotImplementedError  # the loop never asks for it

    def remove(self) -> bool:
        raise NotImplementedError  # the loop never asks for it

    @contextmanager
    def writing(self, every_seconds: float) -> Iterator["FakeTable"]:
        self.sessions += 1
        yield self

    def beat(self) -> datetime:
        self.tries.append(self.clock.monotonic())
        if not self.answers:
            raise KeyboardInterrupt
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        self.beats.append(self.clock.monotonic())
        return self.clock.now()


def run(*answers: KbDrError | None, every: float = 5.0) -> FakeTable:
    clock = FakeClock()
    table = FakeTable(clock, list(answers))
    with pytest.raises(KeyboardInterrupt):
        beat(table, clock, every_seconds=every)
    return table


DOWN = PostgresUnavailable("beat: no answer")


def test_it_beats_at_its_interval_in_one_session() -> None:
    table = run(None, None, None)

    assert table.beats == [0.0, 5.0, 10.0]
    assert table.sessions == 1


def test_it_comes_back_after_the_server_was_away_in_a_new_session() -> None:
    table = run(None, DOWN, DOWN, None, None)

    assert table.beats == [0.0, 8.0, 13.0]
    assert table.sessions == 3


def test_it_waits_longer_from_try_to_try_but_never_long() -> None:
    table = run(*[DOWN] * 12, None, DOWN)

    pauses = [after - before for before, after in zip(table.tries, table.tries[1:], strict=False)]
    assert pauses[:6] == [1, 2, 4, 8, 16, 32]
    assert set(pauses[6:12]) == {LONGEST_PAUSE_SECONDS}
    assert pauses[-1] == 1.0


def test_a_standby_may_become_the_primary() -> None:
    refused = PostgresError("beat: cannot execute INSERT in a read-only transaction")

    assert len(run(refused, None).beats) == 1


def test_a_table_that_is_not_there_is_not_waited_for() -> None:
    clock = FakeClock()

    with pytest.raises(ConfigurationError):
        beat(FakeTable(clock, [ConfigurationError("no table")]), clock, every_seconds=5.0)


@dataclass
class Beating(FakeInspection):
    found: Beat | KbDrError | None = None

    def beat(self) -> Beat | None:
        if isinstance(self.found, KbDrError):
            raise self.found
        return self.found


def check(found: Beat | KbDrError | None, newest: datetime | None = NEWEST) -> Check:
    reach = Reach(1, Lsn(100), 1, Lsn(100), newest)
    return check_heartbeat(Beating(found=found), reach)


def at(seconds: float) -> Beat:
    return Beat(NEWEST + timedelta(seconds=seconds), 5.0, "db1")


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        pytest.param(at(0), Outcome.PASSED, id="the newest commit itself"),
        pytest.param(at(-4.2), Outcome.PASSED, id="a beat ago"),
        pytest.param(at(0.9), Outcome.PASSED, id="overlapping commits"),
        pytest.param(at(1.1), Outcome.FAILED, id="newer than all that was replayed"),
        pytest.param(at(-50), Outcome.PASSED, id="a few beats missed"),
        pytest.param(at(-51), Outcome.COULD_NOT_RUN, id="stopped at the source"),
        pytest.param(None, Outcome.NOT_APPLICABLE, id="not installed"),
        pytest.param(VerificationError("invalid page"), Outcome.FAILED, id="damaged"),
        pytest.param(PostgresError("deadline"), Outcome.COULD_NOT_RUN, id="no answer"),
    ],
)
def test_what_came_back_is_held_against_the_newest_commit(
    found: Beat | KbDrError | None, outcome: Outcome
) -> None:
    assert check(found).outcome is outcome


def test_both_moments_and_their_difference_are_said() -> None:
    seen = check(at(-4.2)).seen

    assert "01:59:55.800Z" in seen
    assert "02:00:00.000Z" in seen
    assert "4.2 s" in seen


def test_without_a_replayed_commit_it_says_nothing_and_is_not_green() -> None:
    assert check(at(0), None).outcome is Outcome.COULD_NOT_RUN


def test_only_a_beat_from_nowhere_decides_a_verdict() -> None:
    reach = Reach(1, Lsn(100), 1, Lsn(100), NEWEST)
    good = Check("rows", Outcome.PASSED, "all")

    verdicts = [judge([good, check(found)], reach)[0] for found in (None, at(-900), at(-1), at(60))]

    assert verdicts == [Verdict.PROVEN, Verdict.PROVEN, Verdict.PROVEN, Verdict.FAILED]
