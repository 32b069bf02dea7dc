"""Whether the negative controls of late allow anybody to believe a proof."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from kb_dr.domain.control import (
    ALL,
    CATALOGUE,
    ControlOutcome,
    ControlResult,
    ControlRun,
    Damage,
    blind_hosts,
    in_order,
    void_through,
    why_void,
)
from kb_dr.domain.finding import Finding
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS, Limits
from kb_dr.domain.proof import Outcome


class ControlLimits(Limits, Protocol):
    """What must hold, the controls included."""

    @property
    def control_age_seconds(self) -> float: ...


SUBJECT = "negative controls"
_RUN = "`kb-dr controls`"


def judge_controls(
    runs: Iterable[ControlRun],
    unread: Sequence[str],
    now: datetime,
    limit: float,
    *,
    initialised: datetime | None,
) -> Finding:
    """Damage of every kind that can always be done was seen within ``limit`` seconds, and the
    newest word on no damage is a bad one. Damage of dumps is no
    substitute for that of base backups.

    ``unread`` names records that could not be read: any of them may be of a blind verifier.
    ``initialised`` is when the oldest repository was made; until ``limit`` after that nothing is
    due yet. None, when nobody can tell, is not taken for new.
    """
    known = in_order(runs)
    if unread:
        hint = "It may be the record of a blind verifier: put it back from the other copy."
        return Finding(SUBJECT, Outcome.COULD_NOT_RUN, unread[0], hint)
    if void_through(known) == ALL:
        hint = f"Mend the verifier, run {_RUN}, then prove everything again: `kb-dr verify`."
        seen = f"all proofs are void: {why_void(known)}"
        return Finding(SUBJECT, Outcome.FAILED, seen, hint)
    if not known:
        return _never(now, limit, initialised)
    newest = _newest_words(known)
    for (of_dump, damage), (run, result) in newest.items():
        if result.outcome is not ControlOutcome.GOOD:
            seen = f"{damage} in {run.id}: {result.outcome}: {result.reason}"
            wanted = f"{run.backup_id} " if of_dump else ""
            hint = f"`kb-dr controls {wanted}--only {damage}`: the verifier misjudges such damage."
            return Finding(SUBJECT, Outcome.FAILED, seen, hint)
    of_files = {damage: run for (of_dump, damage), (run, _) in newest.items() if not of_dump}
    lacking = [each for each in Damage if CATALOGUE[each].always and each not in of_files]
    if lacking:
        seen = f"{', '.join(lacking)}: no control came to its end"
        return Finding(SUBJECT, Outcome.COULD_NOT_RUN, seen, f"Run {_RUN}.")
    required = {each: run for each, run in of_files.items() if CATALOGUE[each].always}
    damage, oldest = min(required.items(), key=lambda each: each[1].finished)
    seconds = (now - oldest.finished).total_seconds()
    text = f"{damage} was last seen {seconds / 86400:.1f} d ago, allowed {limit / 86400:.1f} d"
    # Not written as `seconds > limit`: a number that is none must not pass.
    if not -CLOCK_SLACK_SECONDS <= seconds <= limit:
        return Finding(SUBJECT, Outcome.FAILED, text, f"Run {_RUN}.")
    never = [each for each in Damage if each not in of_files]
    beside = f"; could not run: {', '.join(never)}" if never else ""
    if blind := blind_hosts(known):
        beside += f"; proofs of {', '.join(blind)} stay void: it was blind, and saw nothing since"
    newest_id = [run.id for run in known if not run.of_dump][-1]
    return Finding(SUBJECT, Outcome.PASSED, f"all were seen as damage in {newest_id}{beside}")


def _never(now: datetime, limit: float, initialised: datetime | None) -> Finding:
    if initialised is not None and (now - initialised).total_seconds() <= limit:
        seen = f"none is due before a repository is {limit / 86400:.0f} d old"
        return Finding(SUBJECT, Outcome.NOT_APPLICABLE, seen)
    seen = "none was ever run: nobody knows whether the verifier sees damage"
    return Finding(SUBJECT, Outcome.COULD_NOT_RUN, seen, f"Run {_RUN}.")


def _newest_words(
    known: Sequence[ControlRun],
) -> dict[tuple[bool, Damage], tuple[ControlRun, ControlResult]]:
    """For each damage, of dumps and of base backups, the newest result that says anything."""
    found: dict[tuple[bool, Damage], tuple[ControlRun, ControlResult]] = {}
    for run in known:
        for each in run.results:
            if each.outcome is not ControlOutcome.COULD_NOT_RUN:
                found[run.of_dump, each.damage] = (run, each)
    return found
