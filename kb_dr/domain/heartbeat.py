"""The heartbeat: one row of the source whose time is written every few seconds.

While it beats, commits flow: an archive whose newest commit grows old has stalled, and is not
just quiet. Optional, for a site that allows this one write.
"""

from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome

SUBJECT = "heartbeat"

MISSED_BEATS = 10
"""A row older than so many beats belongs to a heartbeat that has stopped."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The row, as it was read."""

    at: datetime
    """By the clock of the server that wrote it, just before it was committed."""
    every_seconds: float
    """How often it is written."""
    host: str | None
    """Who wrote it."""

    def age_seconds(self, now: datetime) -> float:
        """How old it is by the server's own clock."""
        return (now - self.at).total_seconds()

    def is_late(self, now: datetime) -> bool:
        """Whether the next beats are missing, or, after the clock went back, may be."""
        limit = MISSED_BEATS * self.every_seconds
        return not -limit <= self.age_seconds(now) <= limit


def judge_beat(beat: Beat | None, now: datetime) -> Finding:
    """Whether the heartbeat that is expected of the source beats; ``now`` by the source's clock."""
    if beat is None:
        return Finding(
            SUBJECT,
            Outcome.FAILED,
            "the source has none, and KB_DR_HEARTBEAT is on",
            "`kb-dr heartbeat install`, then keep `kb-dr heartbeat run` running.",
        )
    seen = (
        f"the last one is {beat.age_seconds(now):.0f} s old, written by {beat.host}; "
        f"one is due every {beat.every_seconds:g} s"
    )
    if beat.is_late(now):
        return Finding(
            SUBJECT, Outcome.FAILED, seen, "Start `kb-dr heartbeat run` again; its log says why."
        )
    return Finding(SUBJECT, Outcome.PASSED, seen)
