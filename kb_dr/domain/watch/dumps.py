"""Is the newest logical dump young?"""

from datetime import datetime

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.watch.backups import Series, is_young, young
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched
from kb_dr.domain.wording import age

_TAKE_DUMP = "Read why the last run failed; then `kb-dr backup dump`."


def judge_dump_age(
    seen: Series | Unknown,
    now: datetime,
    limit_seconds: float,
    *,
    wanted: bool,
    made_at: datetime | None,
) -> Watched:
    """``newest_dump_is_young``: the newest good one of the primary. No base backup stands in for
    it, nor it for one.

    ``made_at``: when the repository was made. Of one that is as young as a dump may be none is due
    yet; one that cannot tell is owed one.
    """
    name, subject = "newest_dump_is_young", "newest logical dump in primary"
    if not wanted:
        said = "none are taken: KB_DR_DUMP_SCHEDULE is off"
        return conclude(name, [Finding(subject, Outcome.NOT_APPLICABLE, said)])
    if isinstance(seen, Unknown):
        return conclude(name, [seen.about(subject)])
    newest = seen.newest_good
    if newest is not None:
        seconds = (now - newest.finished).total_seconds()
        part = young(subject, newest.id, seconds, limit_seconds, _TAKE_DUMP)
        return conclude(name, [part], {"age_seconds_primary": seconds})
    never = not seen.backups and not seen.unreadable and not seen.older
    made = None if made_at is None else (now - made_at).total_seconds()
    if never and made is not None and is_young(made, limit_seconds):
        said = f"none is due yet: the repository was made {age(max(0.0, made))} ago"
        return conclude(name, [Finding(subject, Outcome.NOT_APPLICABLE, said)])
    return conclude(name, [Finding(subject, Outcome.FAILED, seen.why_none, _TAKE_DUMP)])
