"""When a channel that failed is tried again, and how fast one that works is told things."""

from datetime import timedelta

import pytest

from kb_dr.domain.channel_pace import A_MINUTE, failed, may_send, took
from kb_dr.domain.delivery import ChannelState
from kb_dr_tests.made_alerts import START

FRESH = ChannelState("slack", START)


def waits(state: ChannelState) -> float:
    assert state.next_try_at is not None
    return (state.next_try_at - state.at).total_seconds()


@pytest.mark.parametrize(("refused", "most"), [(False, 300), (True, 900)])
def test_waiting_doubles_up_to_a_bound(refused: bool, most: float) -> None:
    state, seen = FRESH, []
    for _ in range(12):
        state = failed(state, START, "no answer", chance=1.0, refused=refused)
        seen.append(waits(state))

    assert seen[:4] == [5, 10, 20, 40]
    assert max(seen) == seen[-1] == most
    assert waits(failed(state, START, "no answer", chance=0.0, refused=refused)) == most / 2
    assert state.failing_since == START


@pytest.mark.parametrize(("asked", "waited"), [(0, 1), (42, 42), (10**9, 3600)])
def test_a_channel_is_waited_for_as_long_as_it_asks_and_not_for_ever(
    asked: float, waited: float
) -> None:
    assert waits(failed(FRESH, START, "429", chance=1.0, retry_after=asked)) == waited


def test_a_success_forgets_what_was() -> None:
    state = took(failed(FRESH, START, "no answer", chance=1.0), START)

    assert (state.failing_since, state.attempts, state.next_try_at) == (None, 0, None)


def test_so_many_a_minute_and_no_more() -> None:
    state, sent = FRESH, 0
    for second in range(180):
        now = START + timedelta(seconds=second)
        while may_send(state, now):
            state, sent = took(state, now), sent + 1

    assert sent == 3 * A_MINUTE


def test_a_clock_that_was_set_back_keeps_no_channel_quiet() -> None:
    ahead = START + timedelta(days=7)
    busy = FRESH
    for _ in range(A_MINUTE):
        busy = took(busy, ahead)

    assert may_send(busy, START)
    assert may_send(failed(FRESH, ahead, "no answer", chance=1.0), START)
    again = failed(failed(FRESH, ahead, "no answer", chance=1.0), START, "no answer", chance=1.0)
    assert again.failing_since == START
