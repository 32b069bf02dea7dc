"""Hold the heartbeat that came back against the WAL that was replayed."""

from datetime import UTC, datetime

from kb_dr.domain.proof import Check, Outcome, Reach
from kb_dr.errors import PostgresError, VerificationError
from kb_dr.ports import Inspection

NAME = "heartbeat"

_SLACK_SECONDS = 1.0
"""Commits that overlap may stand in the WAL in another order than their times."""


def check_heartbeat(look: Inspection, reach: Reach) -> Check:
    """A beat is written before it commits: one that is newer than every commit replayed came
    from somewhere else.

    One that is much older says that the heartbeat had stopped, which is no fault of the copy.
    """
    try:
        beat = look.beat()
    except VerificationError as error:
        return Check(NAME, Outcome.FAILED, str(error))
    except PostgresError as error:
        return Check(NAME, Outcome.COULD_NOT_RUN, str(error), needed=False)
    if beat is None:
        return Check(NAME, Outcome.NOT_APPLICABLE, "the source had none", needed=False)
    newest = reach.newest_commit
    if newest is None:
        seen = f"{_moment(beat.at)}, and no commit was replayed to hold it against"
        return Check(NAME, Outcome.COULD_NOT_RUN, seen, needed=False)
    behind = (newest - beat.at).total_seconds()
    seen = f"{_moment(beat.at)}, newest commit replayed {_moment(newest)}"
    if not behind >= -_SLACK_SECONDS:
        return Check(
            NAME, Outcome.FAILED, f"{seen}: {-behind:.1f} s ahead of all that was replayed"
        )
    if beat.is_late(newest):
        why = f"{seen}: it had stopped {behind:.1f} s before"
        return Check(NAME, Outcome.COULD_NOT_RUN, why, needed=False)
    return Check(NAME, Outcome.PASSED, f"{seen}: {behind:.1f} s apart")


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"
