"""How far back a status has to look: never for long, and never so short that it says too much."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from kb_dr.domain.objective import Limits
from kb_dr.domain.proof import Standing
from kb_dr.domain.proven_base import newest_proven_window
from kb_dr.domain.status import CopyStatus

LOOKED_AT = (32, 128, 512)
"""Newest backups of each copy that are looked at: more each time that was not far enough, and at
last all that a proof can be young enough of. What the last look did not find is missing evidence,
and the answer says so."""


MOST_LOOKED_AT = 4096
"""And no more, however many were taken in the time in which a proof may be old enough."""


def oldest_that_counts(copies: int, limits: Limits, now: datetime) -> datetime:
    """A backup proven when it was new is too long proven if it is older; see proof ages."""
    return now - timedelta(seconds=limits.proof_age_seconds * copies)


def far_enough(copies: Sequence[CopyStatus], limits: Limits, now: datetime) -> bool:
    """Whether what was looked at tells all that the objectives ask of the newest backups.

    Of each copy that is: the newest usable one; the newest proven one on the same line, without a
    gap between it and the end of WAL; the newest that was ever tried. And of the copy that counts
    a proof that is young enough.
    """
    return all(_told(copy, copies) for copy in copies) and (
        not copies or _ended(copies[-1]) or _proof_is_young(copies[-1], limits, now)
    )


def _ended(copy: CopyStatus) -> bool:
    return copy.looked_since is None or bool(copy.problem)


def _told(copy: CopyStatus, copies: Sequence[CopyStatus]) -> bool:
    if _ended(copy):
        return True
    tip, proven = copy.tip_window, newest_proven_window(copy, copies)
    return (
        tip is not None
        and proven is not None
        and proven.window.line == tip.line
        and any(each.standing in (Standing.PROVEN, Standing.FAILED) for each in copy.backups)
    )


def _proof_is_young(copy: CopyStatus, limits: Limits, now: datetime) -> bool:
    newest = copy.newest_proof
    return (
        newest is not None and (now - newest.proven_at).total_seconds() <= limits.proof_age_seconds
    )
