"""A stream goes on only where the server's facts say that it can; words decide nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import WalGap
from kb_dr.operations.stream_spool import StreamSpool, open_spool
from kb_dr.operations.streamed_server import StreamedServer
from kb_dr_tests.made_stream import FACTS, FakeReceiver, FakeSource
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
SEGMENT = Segment(2, 5, SEGMENT_BYTES)
WORDS = "FEHLER: das angeforderte WAL-Segment wurde schon entfernt"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[StreamSpool]:
    """Segment 5 of timeline 2 is being written."""
    with open_spool(tmp_path / "kb_dr", SYSTEM_IDENTIFIER, SEGMENT_BYTES) as opened:
        writer = WalWriter(SEGMENT)
        writer.commit(AT)
        (opened.wal / f"{SEGMENT.name}.partial").write_bytes(writer.segments()[SEGMENT.name])
        yield opened


def facts(written: Lsn, *, timeline: int = 2, restart: Lsn | None = SEGMENT.start) -> SourceFacts:
    assert FACTS.slot is not None
    slot = replace(FACTS.slot, restart_lsn=restart)
    return replace(FACTS, written_lsn=written, timeline=timeline, slot=slot)


def server(spool: StreamSpool, answer: SourceFacts) -> tuple[StreamedServer, FakeSource]:
    source = FakeSource(answer)
    receiver = FakeReceiver()
    return StreamedServer(source.as_server(), receiver, "kb_dr", spool, answer), source


def received(spool: StreamSpool) -> Lsn:
    reached = spool.received()
    assert reached is not None
    return reached[1]


def test_a_server_that_has_just_what_was_received_is_gone_on_with(spool: StreamSpool) -> None:
    at, source = server(spool, facts(received(spool)))

    at.prepare()
    assert at.is_back((2, received(spool)))
    # Promoted behind our back: whether it follows is for its history to say.
    source.answer = facts(SEGMENT.start, timeline=3)
    assert at.is_back((2, received(spool)))


@pytest.mark.parametrize("timeline", [1, 2])
def test_a_server_that_was_set_back_within_the_segment_is_an_error(
    spool: StreamSpool, timeline: int
) -> None:
    """The file keeps the old tail, which would hide all that is written before its end."""
    end = received(spool)
    good = facts(end)
    behind = facts(Lsn(end - 8) if timeline == 2 else end.plus(SEGMENT_BYTES), timeline=timeline)

    with pytest.raises(WalGap, match="stands behind what was received"):
        server(spool, behind)[0].prepare()
    at, source = server(spool, good)
    at.prepare()
    source.answer = behind
    with pytest.raises(WalGap, match="stands behind what was received"):
        at.is_back(None)


def test_what_a_copy_has_counts_where_the_spool_was_lost(tmp_path: Path) -> None:
    with open_spool(tmp_path / "kb_dr", SYSTEM_IDENTIFIER, SEGMENT_BYTES) as empty:
        at, _ = server(empty, facts(SEGMENT.start))
        at.prepare()
        assert at.is_back(None)
        with pytest.raises(WalGap, match="stands behind"):
            at.is_back((2, SEGMENT.start.plus(1)))


def test_a_standby_is_waited_for(spool: StreamSpool) -> None:
    at, source = server(spool, facts(received(spool)))
    source.answer = replace(facts(Lsn(0)), is_standby=True)

    assert not at.is_back(None)


@pytest.mark.parametrize(
    "lacking",
    [
        facts(Lsn(SEGMENT.end * 2), restart=SEGMENT.end),
        facts(Lsn(SEGMENT.end * 2), restart=None),
        facts(Lsn(SEGMENT.end * 2), timeline=3),
    ],
    ids=["slot ahead", "slot keeps nothing", "another timeline"],
)
def test_removed_wal_is_a_gap_in_any_language(spool: StreamSpool, lacking: SourceFacts) -> None:
    at, source = server(spool, facts(received(spool)))
    source.answer = lacking
    assert at.is_back(None)

    for _ in range(2):
        at.received_in_vain(WORDS, progress=False)
    at.received_in_vain(WORDS, progress=True)
    for _ in range(2):
        at.received_in_vain(WORDS, progress=False)
    with pytest.raises(WalGap, match=f"{SEGMENT.name}: {WORDS}") as raised:
        at.received_in_vain(WORDS, progress=False)
    assert "--accept-gap" in raised.value.hint


def test_a_server_that_refuses_for_another_reason_is_tried_for_ever(spool: StreamSpool) -> None:
    """As long as the slot keeps what comes next, nothing is lost."""
    at, _ = server(spool, facts(received(spool), restart=Lsn(SEGMENT.end - 1)))

    for _ in range(20):
        at.received_in_vain("requested WAL segment has already been removed", progress=False)
