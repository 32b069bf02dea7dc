"""What should stand in CloudWatch, compared with what does, and put there; and what is put in."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.cloudwatch_alarms import (
    BACKUP_LOG,
    LOG_DAYS,
    RESTORE_LOG,
    Change,
    Does,
    LogGroup,
    compare_alarm,
    compare_dashboard,
    compare_log_group,
    dashboard_name,
    wanted_alarms,
    wanted_dashboard,
)
from kb_dr.domain.cloudwatch_metrics import (
    LOOK_BACK,
    MEASURED,
    Datapoint,
    Scope,
    points_of_a_look,
)
from kb_dr.domain.layout import FAILURES
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.errors import AlertError
from kb_dr.operations.catalog import CatalogEntry, read_entries
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_backups import KINDS, list_backups, newest_first
from kb_dr.ports import CloudWatch, Repository

_LONGEST_TRY = timedelta(days=1)
"""An attempt that failed lately may have begun so long before."""
_OLDEST_INCREMENT = timedelta(days=2)
"""Where there are none, they are looked for no farther back."""
_OLDEST_DUMP = timedelta(days=100)
"""The same of dumps."""


@dataclass(frozen=True, slots=True)
class CloudWatchPlan:
    """Each thing that should stand there, and what becomes of it."""

    region: str
    topic_arn: str | None
    """Who is told when an alarm turns red, and when it turns green again."""
    changes: tuple[Change, ...]

    @property
    def to_do(self) -> tuple[Change, ...]:
        """What does not stand as it should."""
        return tuple(each for each in self.changes if each.does is not Does.NOTHING)

    @property
    def not_ours(self) -> tuple[Change, ...]:
        """What somebody else made under a name we need."""
        return tuple(each for each in self.changes if each.does is Does.NOT_OURS)


def plan_cloudwatch(
    cloudwatch: CloudWatch, scope: Scope, *, region: str, topic_arn: str | None
) -> CloudWatchPlan:
    """Compare; nothing is changed. Raises what the port's methods raise."""
    wanted = wanted_alarms(scope, topic_arn)
    standing = cloudwatch.alarms([alarm.name for alarm in wanted])
    name = dashboard_name(scope)
    changes = [compare_alarm(alarm, standing.get(alarm.name), scope) for alarm in wanted]
    changes.append(
        compare_dashboard(name, wanted_dashboard(scope, region), cloudwatch.dashboard(name), scope)
    )
    changes += [
        compare_log_group(group, cloudwatch.log_group(group.name)) for group in _groups(scope)
    ]
    return CloudWatchPlan(region, topic_arn, tuple(changes))


def apply_cloudwatch(
    cloudwatch: CloudWatch, scope: Scope, *, region: str, topic_arn: str | None
) -> CloudWatchPlan:
    """Make everything stand as it should; the plan that was carried out.

    A second call changes nothing, and one that was cut off is finished by the next. Nothing is
    ever deleted. Raises AlertError, and changes nothing, while something of somebody else's has
    one of the names; and when what stands there afterwards is not what was sent.
    """
    plan = plan_cloudwatch(cloudwatch, scope, region=region, topic_arn=topic_arn)
    if plan.not_ours:
        first = plan.not_ours[0]
        raise AlertError(
            f"set {first.what} {first.name}: somebody else's has this name",
            hint="Give it another name; kb-dr changes and deletes nothing it has not made.",
        )
    changed = {each.name for each in plan.to_do}
    for alarm in wanted_alarms(scope, topic_arn):
        if alarm.name in changed:
            cloudwatch.put_alarm(alarm)
    if dashboard_name(scope) in changed:
        cloudwatch.put_dashboard(dashboard_name(scope), wanted_dashboard(scope, region))
    for group in _groups(scope):
        if group.name in changed:
            cloudwatch.make_log_group(group)
            cloudwatch.keep_logs(group.name, LOG_DAYS)
    left = plan_cloudwatch(cloudwatch, scope, region=region, topic_arn=topic_arn).to_do
    if changed and left:
        raise AlertError(
            f"set {left[0].what} {left[0].name}: it stands otherwise than was sent",
            hint="Run it again in a minute; if it says the same, somebody else changes it, too.",
        )
    return plan


def look_for_points(
    repository: Repository,
    scope: Scope,
    now: datetime,
    known: "KnownEntries[CatalogEntry] | None" = None,
) -> tuple[Datapoint, ...]:
    """What a look at one repository puts into CloudWatch; raises RepositoryError.

    A manifest that cannot be read is no backup here: the age then grows until somebody looks.
    """
    return points_of_a_look(
        now,
        chain(_lately(repository, now, known), _dumped_lately(repository, now, known)),
        [each for kind in MEASURED for each in _failures(repository, scope, kind, now)],
    )


def _lately(
    repository: Repository, now: datetime, known: "KnownEntries[CatalogEntry] | None"
) -> Iterator[Manifest]:
    """Of each kind those that ended lately, and the newest. No two backups overlap, so that the
    order they began in is the order they ended in.
    """
    done: set[BackupKind] = set()
    since, oldest = now - LOOK_BACK, f"{now - _OLDEST_INCREMENT:%Y%m%d-%H%M%S}"
    for listed in newest_first(repository, now):
        if BackupKind.FULL in done and (len(done) == len(KINDS) or listed.stamp < oldest):
            return
        if listed.kind in done:
            continue
        for entry in read_entries(repository, (listed,), known):
            if isinstance(entry, StoredManifest):
                yield entry.manifest
                if entry.manifest.finished < since:
                    done.add(listed.kind)


def _dumped_lately(
    repository: Repository, now: datetime, known: "KnownEntries[CatalogEntry] | None"
) -> Iterator[Manifest]:
    """The same of logical dumps."""
    since, oldest = now - LOOK_BACK, f"{now - _OLDEST_DUMP:%Y%m%d-%H%M%S}"
    for listed in reversed(tuple(list_backups(repository, BackupKind.DUMP, since=oldest))):
        for entry in read_entries(repository, (listed,), known):
            if isinstance(entry, StoredManifest):
                yield entry.manifest
                if entry.manifest.finished < since:
                    return


def _failures(
    repository: Repository, scope: Scope, kind: BackupKind, now: datetime
) -> Iterator[tuple[BackupKind, datetime]]:
    oldest = BackupId.of(scope.service, kind, now - LOOK_BACK - _LONGEST_TRY)
    prefix = f"{FAILURES}{scope.service}-{kind}-"
    for listed in repository.list(prefix, start_after=f"{FAILURES}{oldest}"):
        yield kind, listed.modified


def _groups(scope: Scope) -> tuple[LogGroup, ...]:
    return tuple(LogGroup(name, LOG_DAYS, scope.mark) for name in (BACKUP_LOG, RESTORE_LOG))
