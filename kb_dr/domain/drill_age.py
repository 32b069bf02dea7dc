"""Whether drills of late allow anybody to believe that recovery works."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from kb_dr.domain.drill import Drill
from kb_dr.domain.finding import Finding
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Outcome, Void

SUBJECT = "recovery drill"
_RUN = "Launch disaster_recovery_drill, or run `kb-dr drill`."


def judge_drills(
    drills: Iterable[Drill],
    places: Mapping[str, str],
    now: datetime,
    limit: float,
    *,
    void_through: Void | None = None,
    initialised: datetime | None = None,
) -> Finding:
    """The newest drill of every copy was passed, and one of them within ``limit`` seconds.

    ``places`` are the copies there are, with their addresses: a drill that was passed in another
    place says nothing of them. One that was not counts, until the copy is drilled again. What
    ``void_through`` covers rests on proofs that are void. Until ``limit`` after
    ``initialised``, when the oldest repository was made, none is due yet.
    """
    known = sorted(
        (
            each
            for each in drills
            if each.copy in places and (not each.passed or each.url == places[each.copy])
        ),
        key=lambda each: (each.finished, each.id),
    )
    newest = {each.copy: each for each in known}
    for drill in newest.values():
        if not drill.passed:
            seen = f"drill {drill.id} from {drill.copy}: {'; '.join(drill.shortfalls)}"
            hint = f"drills/{drill.id}.md in each repository is its report. Mend it, drill again."
            return Finding(SUBJECT, Outcome.FAILED, seen, hint)
    told = [
        each
        for each in newest.values()
        if void_through is None or not void_through.covers(each.host, each.started)
    ]
    if not newest and initialised is not None and (now - initialised).total_seconds() <= limit:
        return Finding(SUBJECT, Outcome.NOT_APPLICABLE, "none has been run, none is due yet", _RUN)
    if not newest:
        return Finding(SUBJECT, Outcome.COULD_NOT_RUN, "no drill has been run", _RUN)
    if not told:
        seen = "every drill there is rests on proofs that are void"
        return Finding(SUBJECT, Outcome.FAILED, seen, _RUN)
    drill = max(told, key=lambda each: (each.finished, each.id))
    seconds = (now - drill.finished).total_seconds()
    text = (
        f"drill {drill.id} from {drill.copy} was passed {seconds / 86400:.1f} d ago, "
        f"allowed {limit / 86400:.0f} d"
    )
    # Not written as `seconds > limit`: a number that is none must not pass.
    if not -CLOCK_SLACK_SECONDS <= seconds <= limit:
        return Finding(SUBJECT, Outcome.FAILED, text, _RUN)
    return Finding(SUBJECT, Outcome.PASSED, text)
