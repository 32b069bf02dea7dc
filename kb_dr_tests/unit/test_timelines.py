"""Histories say which timeline a position of the WAL belongs to."""

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.timelines import Lineage, newest_timeline, parse_history
from kb_dr.errors import WalDamaged

HISTORY = """1\t0/3000000\tno recovery target specified

# a comment
2\t0/5000100\tbefore 2026-11-20 02:00:00+00
"""


def test_a_position_belongs_to_the_timeline_that_was_followed_there() -> None:
    line = parse_history(3, HISTORY)

    assert line.timelines == (1, 2, 3)
    assert line.parent == 2
    assert line.timeline_at(Lsn.parse("0/2FFFFFF")) == 1
    assert line.timeline_at(Lsn.parse("0/3000000")) == 2
    assert line.timeline_at(Lsn.parse("0/5000100")) == 3


def test_what_a_timeline_wrote_after_it_was_left_is_not_on_the_line() -> None:
    line = parse_history(3, HISTORY)

    assert line.contains(1, Lsn.parse("0/3000000"))
    assert not line.contains(1, Lsn.parse("0/3000001"))
    assert line.contains(2, Lsn.parse("0/4000000"))
    assert not line.contains(2, Lsn.parse("0/2000000"))
    assert line.contains(3, Lsn.parse("0/9000000"))
    assert not line.contains(3, Lsn.parse("0/4000000"))
    assert not line.contains(4, Lsn.parse("0/4000000"))


@pytest.mark.parametrize(
    "text", ["", "x\t0/1\n", "1\n", "1\t0/1\n1\t0/2\n", "2\t0/5\n3\t0/4\n", "3\t0/1\n"]
)
def test_a_history_postgresql_would_refuse_is_refused(text: str) -> None:
    with pytest.raises(WalDamaged):
        parse_history(3, text)


def test_latest_stops_at_the_first_missing_history() -> None:
    lines = {number: Lineage(number) for number in (1, 2, 3, 5)}

    assert newest_timeline(1, lines).timeline == 3
    assert newest_timeline(5, lines).timeline == 5
    with pytest.raises(WalDamaged):
        newest_timeline(4, lines)
