"""The replication slot that `kb-dr wal stream` reads through, and what may be wrong with it."""

from dataclasses import dataclass

from kb_dr.domain.finding import Finding
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Outcome

SUBJECT = "WAL stream"

MOST_SEGMENTS_BEHIND = 100
"""A stream farther behind does not keep up."""


@dataclass(frozen=True, slots=True)
class ReplicationSlot:
    """The slot, as the server sees it."""

    name: str
    active: bool
    """Whether something reads through it now."""
    restart_lsn: Lsn | None
    """The server keeps WAL from here on for it; None: nothing yet, or no longer."""
    lag_bytes: int | None
    """How much WAL it keeps."""
    wal_status: str | None
    """``reserved``, ``extended``, ``unreserved`` (about to be removed) or ``lost``."""


def judge_slot(slot: ReplicationSlot, segment_bytes: int) -> Finding:
    """Whether the slot is read: one that is not fills production's disk, or loses WAL."""
    lag = slot.lag_bytes
    kept = "an unknown amount" if lag is None else f"{lag / 2**20:.1f} MiB"
    if slot.wal_status == "lost":
        return Finding(
            SUBJECT,
            Outcome.FAILED,
            f"slot {slot.name} is lost: the server has removed WAL it was to keep",
            "`kb-dr wal stream --accept-gap`, then a full backup, unless archive_command brought "
            "that WAL.",
        )
    if not slot.active:
        return Finding(
            SUBJECT,
            Outcome.FAILED,
            f"slot {slot.name} is inactive, {kept} of WAL are kept for it",
            "It fills production's disk. Start `kb-dr wal stream`, or drop it: "
            f"select pg_drop_replication_slot('{slot.name}').",
        )
    if slot.wal_status == "unreserved":
        return Finding(
            SUBJECT,
            Outcome.FAILED,
            f"slot {slot.name} is about to lose WAL, {kept} behind",
            "The stream does not keep up with max_slot_wal_keep_size: see what it logs.",
        )
    if lag is not None and lag > MOST_SEGMENTS_BEHIND * segment_bytes:
        return Finding(
            SUBJECT,
            Outcome.FAILED,
            f"slot {slot.name} is {kept} behind",
            "The stream does not keep up: see what it logs, its disk and the network.",
        )
    seen = f"slot {slot.name} is active, {kept} behind, wal_status {slot.wal_status}"
    return Finding(SUBJECT, Outcome.PASSED, seen)
