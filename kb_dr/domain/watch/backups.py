"""Are the newest backups young?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.finding import Finding
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Outcome
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched
from kb_dr.domain.wording import age

MEAN_DAYS = 7
"""A backup's size is held against the mean of those so many days before it."""

MEAN_DAYS_OF_DUMPS = 35
"""The same of a dump: taken once a week, there would be none within seven days of it."""


@dataclass(frozen=True, slots=True)
class SeenBackup:
    """One backup whose manifest stands in a copy and was read."""

    id: str
    started: datetime
    finished: datetime
    system_identifier: int
    plain_bytes: int
    stored_bytes: int
    starts_in: Segment | None
    """The first segment a restore of it replays; None of a dump, which needs none."""
    good: bool
    """Whether nothing speaks against it: its WAL is there, and no proof of it FAILED."""


@dataclass(frozen=True, slots=True)
class Series:
    """The backups of one kind that a copy holds of late, oldest first; each is held against those
    before it.
    """

    mark: str
    """What the names of its values begin with."""
    mean_days: int
    backups: tuple[SeenBackup, ...]
    older: int = 0
    unreadable: tuple[str, ...] = ()
    under_way_since: datetime | None = None
    """These three as in SeenBackups."""

    @property
    def newest_good(self) -> SeenBackup | None:
        """The newest that nothing speaks against."""
        good = (each for each in self.backups if each.good)
        return max(good, key=lambda each: each.finished, default=None)

    @property
    def last(self) -> SeenBackup | None:
        """The newest, good or not."""
        return max(self.backups, key=lambda each: each.finished, default=None)

    @property
    def why_none(self) -> str:
        """Why there is none that is good."""
        bad = [each.id for each in self.backups if not each.good]
        if bad:
            return f"{bad[-1]} {self._why_bad}; there is no good one of late"
        if self.unreadable:
            return f"none of late can be read: {self.unreadable[-1]}"
        return "there is none of late" if self.older else "there is none"

    @property
    def _why_bad(self) -> str:
        of_files = any(each.starts_in is not None for each in self.backups)
        return "lacks WAL, or a proof of it FAILED" if of_files else "FAILED a proof"


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
    def series(self) -> Series:
        """Its full backups."""
        return Series("", MEAN_DAYS, self.fulls, self.older, self.unreadable, self.under_way_since)

    @property
    def newest_full(self) -> SeenBackup | None:
        """The newest that is good."""
        return self.series.newest_good

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
            parts.append(Finding(subject, Outcome.FAILED, seen.series.why_none, _TAKE_ONE))
            continue
        seconds = (now - newest.finished).total_seconds()
        values[f"age_seconds_{copy}"] = seconds
        parts.append(young(subject, newest.id, seconds, limit_seconds, _TAKE_ONE))
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
    if newest is not None and seconds is not None and is_young(seconds, limit_seconds):
        part = young(subject, newest.id, seconds, limit_seconds, _TAKE_INCREMENT)
        return conclude(name, [part], values)
    full_seconds = None if full is None else (now - full.finished).total_seconds()
    if full is not None and full_seconds is not None and is_young(full_seconds, limit_seconds):
        said = f"{full.id}, a full one, is {age(full_seconds)} old"
        return conclude(name, [Finding(subject, Outcome.NOT_APPLICABLE, said)], values)
    if newest is None or seconds is None:
        part = Finding(subject, Outcome.FAILED, "there is none of late", _TAKE_INCREMENT)
    else:
        part = young(subject, newest.id, seconds, limit_seconds, _TAKE_INCREMENT)
    return conclude(name, [part], values)


def is_young(seconds: float, limit: float) -> bool:
    """Whether something so old is young enough; what is of the future is not."""
    # Not written as `seconds > limit`: a number that is none must not pass.
    return -CLOCK_SLACK_SECONDS <= seconds <= limit


def young(subject: str, name: str, seconds: float, limit: float, hint: str) -> Finding:
    """The same, as a part of a check."""
    if is_young(seconds, limit):
        return Finding(
            subject, Outcome.PASSED, f"{name} is {age(seconds)} old, allowed {age(limit)}"
        )
    if seconds < 0:
        said = f"{name} ends {age(-seconds)} in the future"
        return Finding(subject, Outcome.FAILED, said, SET_CLOCK)
    said = f"{name} is {age(seconds)} old, allowed {age(limit)}"
    return Finding(subject, Outcome.FAILED, said, hint)


_TAKE_ONE = "Read why the last run failed; then `kb-dr backup full`, and `kb-dr copy`."
_OF_ANOTHER = (
    "Is KB_DB_HOST the server meant, and does another one back up into this repository? Then "
    "`kb-dr backup full`."
)
_TAKE_INCREMENT = "`kb-dr backup incr`, and read what it says."
SET_CLOCK = "Set the clock of this machine and of the source by NTP, then take a backup."
