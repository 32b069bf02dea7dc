"""What is put into CloudWatch: four metrics of each kind of backup.

Every point stands at the moment of what it tells, and alarms and dashboard ask for the maximum. So
the same point may be put twice, by the backup itself and by whoever looks at the repository
later, and nothing is counted twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS

NAMESPACE = "KB"

MEASURED = (BackupKind.FULL, BackupKind.INCR, BackupKind.DUMP)
"""The kinds of backup that are told apart: neither hourly increments nor dumps must hide that no
full one has succeeded for days."""

LOOK_BACK = timedelta(hours=3)
"""How far back points are put again: so long CloudWatch may be away and misses nothing."""


class Metric(StrEnum):
    """The names, in the namespace KB."""

    SUCCESS = "BackupSuccess"
    FAILURE = "BackupFailure"
    DURATION = "BackupDuration"
    AGE = "TimeSinceLastBackup"


UNITS = {
    Metric.SUCCESS: "Count",
    Metric.FAILURE: "Count",
    Metric.DURATION: "Seconds",
    Metric.AGE: "Seconds",
}


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One value of one metric."""

    metric: Metric
    kind: BackupKind
    value: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose backups they are; several services may share one account of AWS."""

    service: str
    org: str

    @property
    def prefix(self) -> str:
        """What the names of alarms and dashboard begin with: KB for the service kb."""
        own = self.service.upper()
        return own if self.org == "default" else f"{own}-{self.org}"

    @property
    def mark(self) -> str:
        """By this alone is known that something in the account is of this installation."""
        return f"kb-dr {self.org}/{self.service}"

    def dimensions(self, kind: BackupKind) -> tuple[tuple[str, str], ...]:
        """Name and value of each, sorted."""
        return (("Kind", str(kind)), ("Org", self.org), ("Service", self.service))


def success_points(manifest: Manifest) -> tuple[Datapoint, ...]:
    """What a backup that is complete puts."""
    seconds = (manifest.finished - manifest.started).total_seconds()
    return (
        Datapoint(Metric.SUCCESS, manifest.kind, 1, manifest.finished),
        Datapoint(Metric.DURATION, manifest.kind, seconds, manifest.finished),
    )


def failure_points(kind: BackupKind, at: datetime) -> tuple[Datapoint, ...]:
    """What a backup that failed puts."""
    return (Datapoint(Metric.FAILURE, kind, 1, at),)


def points_of_a_look(
    now: datetime,
    backups: Iterable[Manifest],
    failures: Iterable[tuple[BackupKind, datetime]],
) -> tuple[Datapoint, ...]:
    """What a look at the repository puts, each minute.

    The zeros are what makes alarms fire on time: where most minutes have no point at all,
    CloudWatch looks farther back than it was told, and an old success still counts there.
    """
    backups = tuple(backups)
    since = now - LOOK_BACK
    points = list(_zeros(now))
    for manifest in backups:
        if since <= manifest.finished <= now:
            points += success_points(manifest)
    for kind, at in failures:
        if since <= at <= now:
            points += failure_points(kind, at)
    for kind in MEASURED:
        newest = max((each.finished for each in backups if each.kind is kind), default=None)
        if newest is None:  # without one there is no age, which is worse than any
            continue
        seconds = (now - newest).total_seconds()
        if seconds >= -CLOCK_SLACK_SECONDS:  # nor has one of the future: nobody knows how old it is
            points.append(Datapoint(Metric.AGE, kind, max(0.0, seconds), now))
    return tuple(points)


def _zeros(now: datetime) -> Iterator[Datapoint]:
    for kind in MEASURED:
        for metric in (Metric.SUCCESS, Metric.FAILURE):
            yield Datapoint(metric, kind, 0, now)
