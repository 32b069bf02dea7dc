"""What of a copy's time is proven, recoverable, or a gap."""

import itertools
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
from hypothesis import given

from kb_dr.domain.coverage import Band, Span, share, stretches

NOW = datetime(2026, 11, 27, 21, tzinfo=UTC)


def days_ago(begins: float, ends: float) -> Span:
    return Span(NOW - timedelta(days=begins), NOW - timedelta(days=ends))


def bands(recoverable: list[Span], proven: list[Span]) -> list[tuple[float, float, Band]]:
    def ago(at: datetime) -> float:
        return (NOW - at) / timedelta(days=1)

    found = stretches(recoverable, proven, NOW)
    return [(ago(each.begins), ago(each.ends), each.band) for each in found]


def test_between_two_windows_is_a_gap_and_behind_the_last_one_too() -> None:
    assert bands([days_ago(10, 8), days_ago(6, 1)], [days_ago(6, 3)]) == [
        (10, 8, Band.RECOVERABLE),
        (8, 6, Band.GAP),
        (6, 3, Band.PROVEN),
        (3, 1, Band.RECOVERABLE),
        (1, 0, Band.GAP),
    ]


def test_what_was_proven_and_has_lost_its_wal_is_a_gap() -> None:
    assert bands([days_ago(10, 8)], [days_ago(10, 2)]) == [
        (10, 8, Band.PROVEN),
        (8, 0, Band.GAP),
    ]


def test_windows_that_overlap_are_one() -> None:
    assert bands([days_ago(5, 2), days_ago(9, 4), days_ago(2, 0)], []) == [(9, 0, Band.RECOVERABLE)]


def test_nothing_recoverable_is_nothing_at_all() -> None:
    assert bands([], [days_ago(5, 1)]) == []
    assert share((), Band.PROVEN) is None


def test_the_future_counts_for_nothing() -> None:
    """A clock that was ahead."""
    assert bands([days_ago(2, -5), days_ago(-1, -3)], [days_ago(1, -9)]) == [
        (2, 1, Band.RECOVERABLE),
        (1, 0, Band.PROVEN),
    ]


def test_what_is_older_than_all_wal_is_left_out() -> None:
    found = stretches(
        [days_ago(90, 89.9), days_ago(40, 1)],
        [days_ago(40, 35)],
        NOW,
        since=NOW - timedelta(days=37),
    )

    assert [(each.begins, each.band) for each in found] == [
        (NOW - timedelta(days=37), Band.PROVEN),
        (NOW - timedelta(days=35), Band.RECOVERABLE),
        (NOW - timedelta(days=1), Band.GAP),
    ]


def test_shares_are_of_the_whole_time() -> None:
    found = stretches([days_ago(10, 5)], [days_ago(10, 8)], NOW)

    assert share(found, Band.PROVEN) == 0.2
    assert share(found, Band.PROVEN, Band.RECOVERABLE) == 0.5


_moments = st.integers(-50, 500).map(lambda hours: NOW - timedelta(hours=hours))
_spans = st.lists(
    st.tuples(_moments, _moments).map(lambda pair: Span(min(pair), max(pair))), max_size=8
)


@given(_spans, _spans)
def test_every_moment_has_one_band_and_the_right_one(
    recoverable: list[Span], proven: list[Span]
) -> None:
    found = stretches(recoverable, proven, NOW)

    for one, next_one in itertools.pairwise(found):
        assert one.ends == next_one.begins
        assert one.band is not next_one.band
    if found:
        assert found[-1].ends == NOW
    for each in found:
        middle = each.begins + (each.ends - each.begins) / 2

        def inside(spans: list[Span], at: datetime = middle) -> bool:
            return any(span.begins <= at <= span.ends for span in spans)

        assert inside(recoverable) == (each.band is not Band.GAP)
        if each.band is Band.PROVEN:
            assert inside(proven)
        elif each.band is Band.RECOVERABLE:
            assert not inside(proven)
