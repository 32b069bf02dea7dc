"""Are the newest backups as large as those before them, and taken in reasonable time?"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from kb_dr.domain.finding import Finding
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Outcome
from kb_dr.domain.watch.backups import SET_CLOCK, SeenBackup, SeenBackups, Series
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched
from kb_dr.domain.wording import age, size

Values = dict[str, float | None]

_SLOW = "Look at the run's phases, the network and the load of the source."


def judge_backup_size(
    seen: SeenBackups | Unknown, least_percent: float, dumps: Series | Unknown
) -> Watched:
    """``backup_size_is_plausible``: the newest full of the primary against the mean of the good
    ones of the same cluster that began in the days before it; as read, and as stored. The same of
    the newest dump, against dumps alone.
    """
    values: Values = {}
    parts = [
        *_size_parts(_series(seen), "full backup", least_percent, values),
        *_size_parts(dumps, "logical dump", least_percent, values),
    ]
    return conclude("backup_size_is_plausible", parts, values)


def judge_backup_duration(
    seen: SeenBackups | Unknown, now: datetime, most_seconds: float, dumps: Series | Unknown
) -> Watched:
    """``backups_are_quick``: the newest full of the primary, and one that is under way; the same
    of dumps.
    """
    values: Values = {}
    parts = [
        *_duration_parts(_series(seen), "full backup", now, most_seconds, values),
        *_duration_parts(dumps, "logical dump", now, most_seconds, values),
    ]
    return conclude("backups_are_quick", parts, values)


def _series(seen: SeenBackups | Unknown) -> Series | Unknown:
    return seen if isinstance(seen, Unknown) else seen.series


def _size_parts(
    seen: Series | Unknown, word: str, least_percent: float, values: Values
) -> Iterator[Finding]:
    subject = f"size of the newest {word} in primary"
    if isinstance(seen, Unknown):
        yield seen.about(subject)
        return
    newest = seen.last
    if newest is None:
        yield _of_none(subject, seen)
        return
    before = _before(newest, seen.backups, seen.mean_days)
    values[f"{seen.mark}plain_bytes"] = newest.plain_bytes
    values[f"{seen.mark}stored_bytes"] = newest.stored_bytes
    if not before:
        said = f"{newest.id}: no good one of this cluster in the {seen.mean_days} days before it"
        yield Finding(subject, Outcome.NOT_APPLICABLE, said)
        return
    for what, own, others in (
        ("plain", newest.plain_bytes, [each.plain_bytes for each in before]),
        ("stored", newest.stored_bytes, [each.stored_bytes for each in before]),
    ):
        mean = sum(others) / len(others)
        # Nothing compared with nothing is all of it: an empty database was empty before.
        percent = 100.0 * own / mean if mean > 0 else 100.0
        values[f"{seen.mark}mean_{what}_bytes"] = mean
        values[f"{seen.mark}{what}_percent"] = percent
        said = (
            f"{newest.id}: {size(own)}, {percent:.0f} % of {size(mean)}, the mean of "
            f"{len(before)} in the {seen.mean_days} days before it; expected {least_percent:g} % "
            "or more"
        )
        if percent >= least_percent:
            yield Finding(f"{what} {subject}", Outcome.PASSED, said)
        else:
            hint = f"Count production's rows; keep an older one: `kb-dr hold {before[-1].id}`."
            yield Finding(f"{what} {subject}", Outcome.FAILED, said, hint)


def _before(newest: SeenBackup, all_of_it: Sequence[SeenBackup], days: int) -> list[SeenBackup]:
    """What a backup is compared with."""
    since = newest.started - timedelta(days=days)
    return [
        each
        for each in all_of_it
        if each.good
        and each.system_identifier == newest.system_identifier
        and since <= each.started < newest.started
    ]


def _duration_parts(
    seen: Series | Unknown, word: str, now: datetime, most_seconds: float, values: Values
) -> Iterator[Finding]:
    subject = f"duration of the newest {word}"
    if isinstance(seen, Unknown):
        yield seen.about(subject)
        return
    newest = seen.last
    if newest is None:
        yield _of_none(subject, seen)
    else:
        seconds = (newest.finished - newest.started).total_seconds()
        values[f"{seen.mark}duration_seconds"] = seconds
        said = f"{newest.id}: {age(seconds)}, allowed {age(most_seconds)}"
        if seconds < 0:
            said = f"{newest.id} ended {-seconds:.0f} s before it began: a clock was set meanwhile"
            yield Finding(subject, Outcome.COULD_NOT_RUN, said, SET_CLOCK)
        elif seconds > most_seconds:
            yield Finding(subject, Outcome.FAILED, said, _SLOW)
        else:
            yield Finding(subject, Outcome.PASSED, said)
    if seen.under_way_since is not None:
        since = seen.under_way_since
        seconds = (now - since).total_seconds()
        values[f"{seen.mark}under_way_seconds"] = seconds
        said = f"begun {since:%Y-%m-%d %H:%M:%S}Z, {age(seconds)} ago; allowed {age(most_seconds)}"
        late = not -CLOCK_SLACK_SECONDS <= seconds <= most_seconds
        outcome = Outcome.FAILED if late else Outcome.PASSED
        hint = "It is slow, or its process is gone: look at its run." if late else ""
        yield Finding(f"a {word} under way", outcome, said, hint)


def _of_none(subject: str, seen: Series) -> Finding:
    """Where none was ever taken there is nothing to speak of: the check of their age is red.

    One that stands there and was not read is another matter: of that nobody can tell.
    """
    never = not seen.older and not seen.unreadable
    outcome = Outcome.NOT_APPLICABLE if never else Outcome.COULD_NOT_RUN
    return Finding(subject, outcome, seen.why_none)
