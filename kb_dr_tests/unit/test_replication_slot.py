"""A slot that nothing reads, or that has lost WAL, is never green."""

from dataclasses import replace

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Outcome
from kb_dr.domain.replication_slot import ReplicationSlot, judge_slot

SEGMENT_BYTES = 16 * 2**20
GOOD = ReplicationSlot("kb_dr", True, Lsn(0x5000000), 5 * 2**20, "reserved")


def test_a_slot_that_is_read_is_green() -> None:
    for status in ("reserved", "extended"):
        found = judge_slot(replace(GOOD, wal_status=status), SEGMENT_BYTES)
        assert found.outcome is Outcome.PASSED
        assert "5.0 MiB behind" in found.seen


@pytest.mark.parametrize(
    ("slot", "seen"),
    [
        (replace(GOOD, active=False), "inactive, 5.0 MiB of WAL are kept"),
        (replace(GOOD, active=False, lag_bytes=None), "an unknown amount"),
        (replace(GOOD, active=False, wal_status="lost", restart_lsn=None), "is lost"),
        (replace(GOOD, wal_status="lost"), "is lost"),
        (replace(GOOD, wal_status="unreserved"), "about to lose WAL"),
        (replace(GOOD, lag_bytes=100 * SEGMENT_BYTES + 1), "1600.0 MiB behind"),
    ],
)
def test_anything_else_is_red_and_says_what_to_do(slot: ReplicationSlot, seen: str) -> None:
    found = judge_slot(slot, SEGMENT_BYTES)

    assert found.outcome is Outcome.FAILED
    assert seen in found.seen
    assert found.hint
