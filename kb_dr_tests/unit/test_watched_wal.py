"""WAL that is watched: whoever says it has left the server is not believed without a look."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.wal_names import history_name
from kb_dr.domain.watch.arrived import ArrivedWal, called_archived, judge_arrival
from kb_dr.domain.watch.conclude import Unknown
from kb_dr.domain.watch.wal import judge_archiver, judge_stream, judge_waiting
from kb_dr_tests.made_watch import ARCHIVER, FACTS, NOW, OFF, SILENT, SLOT, STREAMED
from kb_dr_tests.stored_backups import SEGMENT_BYTES, segment

P, F, C, N = Outcome.PASSED, Outcome.FAILED, Outcome.COULD_NOT_RUN, Outcome.NOT_APPLICABLE
FAILING = replace(ARCHIVER, failed_count=3, last_failed_wal=segment(10).name, last_failed_at=NOW)
NONE_YET = replace(ARCHIVER, archived_count=0, last_archived_wal=None, last_archived_at=None)


@pytest.mark.parametrize(
    ("facts", "archiver", "outcome"),
    [
        (FACTS, ARCHIVER, P),
        (replace(FACTS, waiting_segments=100), ARCHIVER, P),
        (replace(FACTS, waiting_segments=101), ARCHIVER, F),
        (replace(FACTS, waiting_segments=101), SILENT, F),
        (replace(FACTS, waiting_segments=None), ARCHIVER, C),
        (STREAMED, OFF, N),
        (SILENT, SILENT, C),
    ],
)
def test_wal_leaves_the_server_or_piles_up(
    facts: SourceFacts | Unknown, archiver: ArchiverStatus | Unknown, outcome: Outcome
) -> None:
    judged = judge_waiting(facts, archiver, 100)

    assert (judged.outcome, judged.severity) == (outcome, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("facts", "archiver", "outcome"),
    [
        (FACTS, ARCHIVER, P),
        (FACTS, NONE_YET, P),
        (FACTS, FAILING, F),
        (FACTS, replace(FAILING, last_archived_at=NOW + timedelta(seconds=1)), P),
        (FACTS, replace(FAILING, last_archived_at=None), F),
        (FACTS, OFF, F),
        (FACTS, replace(ARCHIVER, command=""), F),
        (STREAMED, OFF, N),
        (STREAMED, replace(ARCHIVER, command=""), N),
        (STREAMED, FAILING, F),
        (replace(FACTS, slot=replace(SLOT, active=False)), OFF, F),
        (SILENT, OFF, C),
        (SILENT, SILENT, C),
        (FACTS, SILENT, C),
    ],
)
def test_the_archiver_succeeds_or_not(
    facts: SourceFacts | Unknown, archiver: ArchiverStatus | Unknown, outcome: Outcome
) -> None:
    judged = judge_archiver(facts, archiver)

    assert (judged.outcome, judged.severity) == (outcome, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("facts", "archiver", "outcome"),
    [
        (STREAMED, OFF, P),
        (STREAMED, ARCHIVER, P),
        (FACTS, OFF, F),
        (FACTS, replace(ARCHIVER, command=""), F),
        (FACTS, ARCHIVER, N),
        (FACTS, SILENT, C),
        (SILENT, SILENT, C),
        (replace(FACTS, slot=replace(SLOT, active=False)), OFF, F),
        (replace(FACTS, slot=replace(SLOT, active=False)), ARCHIVER, F),
        (replace(FACTS, slot=replace(SLOT, wal_status="lost")), OFF, F),
        (replace(FACTS, slot=replace(SLOT, lag_bytes=100 * SEGMENT_BYTES)), OFF, P),
        (replace(FACTS, slot=replace(SLOT, lag_bytes=100 * SEGMENT_BYTES + 1)), OFF, F),
    ],
)
def test_the_slot_keeps_up_or_not(
    facts: SourceFacts | Unknown, archiver: ArchiverStatus | Unknown, outcome: Outcome
) -> None:
    judged = judge_stream(facts, archiver)

    assert (judged.outcome, judged.severity) == (outcome, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (segment(9).name, 9),
        (f"{segment(9).name}.00000028.backup", 9),
        (f"{segment(9).name}.partial", 8),
        (history_name(2), 8),
        ("something else", None),
        ("00000001FFFFFFFFFFFFFFFF", None),
    ],
)
def test_what_the_server_names_says_how_far_it_has_archived(name: str, number: int | None) -> None:
    reach = called_archived(replace(ARCHIVER, last_archived_wal=name), FACTS)

    assert reach == (None if number is None else segment(number))


@pytest.mark.parametrize(
    ("waiting", "number"), [(0, 8), (3, 5), (8, None), (100, None), (None, None)]
)
def test_where_statistics_were_reset_what_does_not_wait_was_archived(
    waiting: int | None, number: int | None
) -> None:
    reach = called_archived(NONE_YET, replace(FACTS, waiting_segments=waiting))

    assert reach == (None if number is None else segment(number))


HISTORY_LAST = replace(ARCHIVER, last_archived_wal=history_name(2))


def stands(upto: int, *, last: bool | None = True) -> ArrivedWal:
    """Everything from segment 2 up to this one."""
    return ArrivedWal(last, segment(2), segment(upto + 1))


@pytest.mark.parametrize(
    ("facts", "archiver", "arrived", "outcome"),
    [
        (FACTS, ARCHIVER, stands(9), P),
        (FACTS, ARCHIVER, stands(10), P),
        (FACTS, ARCHIVER, stands(8, last=False), F),
        # The last stands again, by an honest command, and a hole lies behind it.
        (FACTS, ARCHIVER, stands(5), F),
        (FACTS, ARCHIVER, stands(1, last=False), F),
        # Without a full backup there is no chain, but the last file has to stand.
        (FACTS, ARCHIVER, ArrivedWal(True, None, None), P),
        (FACTS, ARCHIVER, ArrivedWal(False, None, None), F),
        (FACTS, ARCHIVER, ArrivedWal(True, segment(2), None, "no key"), C),
        (FACTS, ARCHIVER, ArrivedWal(False, segment(2), None, "no key"), F),
        # Statistics that were reset hide no hole.
        (FACTS, NONE_YET, stands(8, last=None), P),
        (FACTS, NONE_YET, stands(7, last=None), F),
        # A role that may not look does not make a server one that has archived nothing.
        (replace(FACTS, waiting_segments=None), NONE_YET, stands(3, last=None), C),
        # A history goes first of all, and says nothing of the segments a lie has let go.
        (FACTS, HISTORY_LAST, stands(8), P),
        (FACTS, HISTORY_LAST, stands(5), F),
        (replace(FACTS, waiting_segments=None), HISTORY_LAST, stands(5), C),
        (replace(FACTS, written_lsn=Lsn(5)), NONE_YET, ArrivedWal(None, None, None), N),
        # A stream may bring the last one a moment later; it excuses no more than that.
        (STREAMED, ARCHIVER, stands(8, last=False), P),
        (STREAMED, ARCHIVER, stands(7, last=False), F),
        (STREAMED, OFF, stands(8), N),
        (FACTS, OFF, stands(8), N),
        (replace(FACTS, is_standby=True), ARCHIVER, stands(9), C),
        (SILENT, SILENT, SILENT, C),
        (FACTS, SILENT, SILENT, C),
        (FACTS, ARCHIVER, SILENT, C),
    ],
)
def test_what_the_server_calls_archived_has_arrived_or_not(
    facts: SourceFacts | Unknown,
    archiver: ArchiverStatus | Unknown,
    arrived: ArrivedWal | Unknown,
    outcome: Outcome,
) -> None:
    judged = judge_arrival(facts, archiver, arrived)

    assert (judged.outcome, judged.severity) == (outcome, Severity.CRITICAL), judged.parts


def test_a_hole_is_counted() -> None:
    assert judge_arrival(FACTS, ARCHIVER, stands(5)).values == {"missing_segments": 4}
    assert judge_arrival(FACTS, ARCHIVER, stands(9)).values == {"missing_segments": 0}
