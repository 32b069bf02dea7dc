"""Are the newest backups young, as large as those before them, and taken in reasonable time?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kb_dr.domain.finding import Finding
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Outcome
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched
from kb_dr.domain.wording import age, size

MEAN_DAYS = 7
"""A backup's size is held against the mean of those so many days before it."""


@dataclass(frozen=True, slots=True)
class SeenBackup:
    """One backup whose manifest stands in a copy and was read."""

    id: str
    started: datetime
    finished: datetime
    system_identifier: int
    plain_bytes: int
    stored_bytes: int
    starts_in: Segment
    """The first segment a restore of it replays."""
    good: bool
    """Whether nothing speaks against it: its WAL is there, and no proof of it FAILED."""


@dataclass(frozen=True, slots=True)
class SeenBackups:
    """What one copy holds of late, oldest first."""

    fulls: tuple[SeenBackup, ...]
    """The newest, and those of the days that its size is held against."""
    newest_increment: SeenBackup | None
    older: int
    """Full backups that stand there and were not read: they are older than all that were."""
    unreadable: tuple[str, ...] = ()
    """Manifests of late that cannot be read, each with the reason."""
    under_way_since: datetime | None = None
    """When a full backup began that has no manifest yet, and left no record of its failure."""

    @property
    def newest_full(self) -> SeenBackup | None:
        """The newest that is good."""
        return max(
            (each for each in self.fulls if each.good),
            key=lambda each: each.finished,
            default=None,
        )

    def newest_full_of(self, system_identifier: int) -> SeenBackup | None:
        """The newest of one cluster that is good."""
        return max(
            (
                each
                for each in self.fulls
                if each.good and each.system_identifier == system_identifier
            ),
            key=lambda each: each.finished,
            default=None,
        )

    @property
    def last_full(self) -> SeenBackup | None:
        """The newest, good or not."""
        return max(self.fulls, key=lambda each: each.finished, default=None)


def judge_backup_age(
    copies: Mapping[str, SeenBackups | Unknown],
    now: datetime,
    limit_seconds: float,
    system_identifier: int | None = None,
) -> Watched:
    """``newest_backup_is_young``: the newest good full backup of each copy.

    One that ends in the future is not young: nobody knows how old it is. Where the source told
    its ``system_identifier``, one of another cluster is none of this one.
    """
    parts, values = [], {}
    for copy, seen in copies.items():
        subject = f"newest full backup in {copy}"
        if isinstance(seen, Unknown):
            parts.append(seen.about(subject))
            continue
        newest = seen.newest_full
        if newest is not None and system_identifier is not None:
            own = seen.newest_full_of(system_identifier)
            if own is None:
                said = (
                    f"{newest.id} is of another cluster, {newest.system_identifier}; expected one "
                    f"of the source's, {system_identifier}"
                )
                parts.append(Finding(subject, Outcome.FAILED, said, _OF_ANOTHER))
                continue
            newest = own
        if newest is None:
            parts.append(Finding(subject, Outcome.FAILED, _why_no_full(seen), _TAKE_ONE))
            continue
        seconds = (now - newest.finished).total_seconds()
        values[f"age_seconds_{copy}"] = seconds
        parts.append(_young(subject, newest.id, seconds, limit_seconds, _TAKE_ONE))
    return conclude("newest_backup_is_young", parts, values)


def judge_increment_age(
    seen: SeenBackups | Unknown, now: datetime, limit_seconds: float, *, wanted: bool
) -> Watched:
    """``newest_increment_is_young``: in the primary. A full one of late leaves nothing to want."""
    name, subject = "newest_increment_is_young", "newest incremental backup in primary"
    if not wanted:
        said = "none are taken: KB_DR_INCREMENTAL_SCHEDULE is off"
        return conclude(name, [Finding(subject, Outcome.NOT_APPLICABLE, said)])
    if isinstance(seen, Unknown):
        return conclude(name, [seen.about(subject)])
    newest, full = seen.newest_increment, seen.newest_full
    seconds = None if newest is None else (now - newest.finished).total_seconds()
    values = {"age_seconds_primary": seconds}
    if newest is not None and seconds is not None and _is_young(seconds, limit_seconds):
        part = _young(subject, newest.id, seconds, limit_seconds, _TAKE_INCREMENT)
        return conclude(name, [part], values)
    full_seconds = None if full is None else (now - full.finished).total_seconds()
    if full is not None and full_seconds is not None and _is_young(full_seconds, limit_seconds):
        said = f"{full.id}, a full one, is {age(full_seconds)} old"
        return conclude(name, [Finding(subject, Outcome.NOT_APPLICABLE, said)], values)
    if newest is None or seconds is None:
        part = Finding(subject, Outcome.FAILED, "there is none of late", _TAKE_INCREMENT)
    else:
        part = _young(subject, newest.id, seconds, limit_seconds, _TAKE_INCREMENT)
    return conclude(name, [part], values)


def judge_backup_size(seen: SeenBackups | Unknown, least_percent: float) -> Watched:
    """``backup_size_is_plausible``: the newest full of the primary against the mean of the good
    ones of the same cluster that began within MEAN_DAYS before it; as read, and as stored.
    """
    name, subject = "backup_size_is_plausible", "size of the newest full backup in primary"
    if isinstance(seen, Unknown):
        return conclude(name, [seen.about(subject)])
    newest = seen.last_full
    if newest is None:
        return conclude(name, [_of_no_full(subject, seen)])
    since = newest.started - timedelta(days=MEAN_DAYS)
    before = [
        each
        for each in seen.fulls
        if each.good
        and each.system_identifier == newest.system_identifier
        and since <= each.started < newest.started
    ]
    values: dict[str, float | None] = {
        "plain_bytes": newest.plain_bytes,
        "stored_bytes": newest.stored_bytes,
    }
    if not before:
        said = f"{newest.id}: no good one of this cluster in the {MEAN_DAYS} days before it"
        return conclude(name, [Finding(subject, Outcome.NOT_APPLICABLE, said)], values)
    parts = []
    for what, own, others in (
        ("plain", newest.plain_bytes, [each.plain_bytes for each in before]),
        ("stored", newest.stored_bytes, [each.stored_bytes for each in before]),
    ):
        mean = sum(others) / len(others)
        # Nothing compared with nothing is all of it: an empty database was empty before.
        percent = 100.0 * own / mean if mean > 0 else 100.0
        values[f"mean_{what}_bytes"] = mean
        values[f"{what}_percent"] = percent
        said = (
            f"{newest.id}: {size(own)}, {percent:.0f} % of {size(mean)}, the mean of "
            f"{len(before)} in the {MEAN_DAYS} days before it; expected {least_percent:g} % or more"
        )
        if percent >= least_percent:
            parts.append(Finding(f"{what} {subject}", Outcome.PASSED, said))
        else:
            hint = f"Count production's rows; keep an older one: `kb-dr hold {before[-1].id}`."
            parts.append(Finding(f"{what} {subject}", Outcome.FAILED, said, hint))
    return conclude(name, parts, values)


def judge_backup_duration(
    seen: SeenBackups | Unknown, now: datetime, most_seconds: float
) -> Watched:
    """``backups_are_quick``: the newest full of the primary, and one that is under way."""
    name, subject = "backups_are_quick", "duration of the newest full backup"
    if isinstance(seen, Unknown):
        return conclude(name, [seen.about(subject)])
    parts, values = [], {}
    newest = seen.last_full
    if newest is None:
        parts.append(_of_no_full(subject, seen))
    else:
        seconds = (newest.finished - newest.started).total_seconds()
        values["duration_seconds"] = seconds
        said = f"{newest.id}: {age(seconds)}, allowed {age(most_seconds)}"
        if seconds < 0:
            said = f"{newest.id} ended {-seconds:.0f} s before it began: a clock was set meanwhile"
            parts.append(Finding(subject, Outcome.COULD_NOT_RUN, said, _SET_CLOCK))
        elif seconds > most_seconds:
            parts.append(Finding(subject, Outcome.FAILED, said, _SLOW))
        else:
            parts.append(Finding(subject, Outcome.PASSED, said))
    if seen.under_way_since is not None:
        since = seen.under_way_since
        seconds = (now - since).total_seconds()
        values["under_way_seconds"] = seconds
        said = f"begun {since:%Y-%m-%d %H:%M:%S}Z, {age(seconds)} ago; allowed {age(most_seconds)}"
        late = not -CLOCK_SLACK_SECONDS <= seconds <= most_seconds
        outcome = Outcome.FAILED if late else Outcome.PASSED
        hint = "It is slow, or its process is gone: look at its run." if late else ""
        parts.append(Finding("a full backup under way", outcome, said, hint))
    return conclude(name, parts, values)


def _of_no_full(subject: str, seen: SeenBackups) -> Finding:
    """Where none was ever taken there is nothing to speak of: ``newest_backup_is_young`` is red.

    One that stands there and was not read is another matter: of that nobody can tell.
    """
    never = not seen.older and not seen.unreadable
    outcome = Outcome.NOT_APPLICABLE if never else Outcome.COULD_NOT_RUN
    return Finding(subject, outcome, _why_no_full(seen))


def _why_no_full(seen: SeenBackups) -> str:
    bad = [each.id for each in seen.fulls if not each.good]
    if bad:
        return f"{bad[-1]} lacks WAL, or a proof of it FAILED; there is no good one of late"
    if seen.unreadable:
        return f"none of late can be read: {seen.unreadable[-1]}"
    return "there is none of late" if seen.older else "there is none"


def _is_young(seconds: float, limit: float) -> bool:
    # Not written as `seconds > limit`: a number that is none must not pass.
    return -CLOCK_SLACK_SECONDS <= seconds <= limit


def _young(subject: str, name: str, seconds: float, limit: float, hint: str) -> Finding:
    if _is_young(seconds, limit):
        return Finding(
            subject, Outcome.PASSED, f"{name} is {age(seconds)} old, allowed {age(limit)}"
        )
    if seconds < 0:
        said = f"{name} ends {age(-seconds)} in the future"
        return Finding(subject, Outcome.FAILED, said, _SET_CLOCK)
    said = f"{name} is {age(seconds)} old, allowed {age(limit)}"
    return Finding(subject, Outcome.FAILED, said, hint)


_TAKE_ONE = "Read why the last run failed; then `kb-dr backup full`, and `kb-dr copy`."
_OF_ANOTHER = (
    "Is KB_DB_HOST the server meant, and does another one back up into this repository? Then "
    "`kb-dr backup full`."
)
_TAKE_INCREMENT = "`kb-dr backup incr`, and read what it says."
_SET_CLOCK = "Set the clock of this machine and of the source by NTP, then take a backup."
_SLOW = "Look at the run's phases, the network and the load of the source."
