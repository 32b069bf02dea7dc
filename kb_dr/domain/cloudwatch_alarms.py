"""What stands in CloudWatch: alarms, a dashboard, log groups; and what would have to change.

Limits are those of the PutMetricAlarm and PutRetentionPolicy pages of AWS: period times
evaluation periods is a day at most, or a week with periods of an hour and more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.cloudwatch_metrics import MEASURED, NAMESPACE, Metric, Scope

BACKUP_LOG = "/aws/knowledgebase/backup"
RESTORE_LOG = "/aws/knowledgebase/restore"
LOG_DAYS = 365

OLDEST_HOURS = 25
LONGEST_SECONDS = 30 * 60

_MINUTES, _HOUR = 300, 3600
ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One metric alarm, with everything that decides whether it fires and whom it tells."""

    name: str
    description: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    """Sorted by name."""
    statistic: str
    period_seconds: int
    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    comparison: str
    missing: str
    """What is taken for a period without a point: ``breaching``, ``notBreaching``, ``ignore`` (the
    state stays) or ``missing``."""
    alarm_actions: tuple[str, ...]
    ok_actions: tuple[str, ...]
    insufficient_data_actions: tuple[str, ...] = ()
    actions_enabled: bool = True
    unit: str | None = None
    """None: whatever unit the points have. With another one than theirs it would see none."""
    others: tuple[str, ...] = ()
    """What else is set on it, which none of ours has: metric math, a percentile."""


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A group of log streams, and how long it keeps them."""

    name: str
    days: int | None
    """None: for ever."""
    mark: str
    """Who made it; empty when it was not kb-dr."""


class Does(StrEnum):
    """What one thing needs."""

    NOTHING = "stands"
    CREATE = "is made"
    CHANGE = "is changed"
    NOT_OURS = "is not ours"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing of CloudWatch, and what becomes of it."""

    what: str
    """``alarm``, ``dashboard`` or ``log group``."""
    name: str
    does: Does
    differs: tuple[str, ...] = ()
    """What is otherwise than wanted; one line each."""


def wanted_alarms(scope: Scope, topic_arn: str | None) -> tuple[Alarm, ...]:
    """The alarms of one service. Without a topic they turn red and tell nobody."""
    actions = () if topic_arn is None else (topic_arn,)

    def alarm(
        name: str,
        meaning: str,
        metric: Metric,
        *,
        comparison: str,
        threshold: float,
        period: int,
        periods: int = 1,
        missing: str,
        kind: BackupKind = BackupKind.FULL,
    ) -> Alarm:
        return Alarm(
            name=f"{scope.prefix}-{name}",
            description=f"{meaning} Made by {scope.mark}; docs/monitoring.md says what to do.",
            namespace=NAMESPACE,
            metric=metric,
            dimensions=scope.dimensions(kind),
            statistic="Maximum",
            period_seconds=period,
            evaluation_periods=periods,
            datapoints_to_alarm=periods,
            threshold=threshold,
            comparison=comparison,
            missing=missing,
            alarm_actions=actions,
            ok_actions=actions,
        )

    return (
        alarm(
            "BackupFailure",
            f"No full backup has succeeded for {OLDEST_HOURS} hours, or nobody says so.",
            Metric.SUCCESS,
            comparison=BELOW,
            threshold=1,
            period=_HOUR,
            periods=OLDEST_HOURS,
            missing="breaching",
        ),
        # The same from the other side: it fires within minutes, also when nothing is put at all.
        alarm(
            "BackupOverdue",
            f"The newest full backup is older than {OLDEST_HOURS} hours, or its age is not known.",
            Metric.AGE,
            comparison=ABOVE,
            threshold=OLDEST_HOURS * 3600,
            period=_MINUTES,
            periods=3,
            missing="breaching",
        ),
        # Red until one was quick again: between two backups there is nothing to be seen.
        alarm(
            "BackupDurationHigh",
            f"A full backup took longer than {LONGEST_SECONDS // 60} minutes.",
            Metric.DURATION,
            comparison=ABOVE,
            threshold=LONGEST_SECONDS,
            period=_HOUR,
            missing="ignore",
        ),
        alarm(
            "BackupRunFailed",
            "A full backup failed within the last hour.",
            Metric.FAILURE,
            comparison=ABOVE,
            threshold=0,
            period=_HOUR,
            missing="notBreaching",
        ),
        alarm(
            "IncrementRunFailed",
            "An incremental backup failed within the last hour.",
            Metric.FAILURE,
            comparison=ABOVE,
            threshold=0,
            period=_HOUR,
            missing="notBreaching",
            kind=BackupKind.INCR,
        ),
        alarm(
            "DumpRunFailed",
            "A logical dump failed within the last hour.",
            Metric.FAILURE,
            comparison=ABOVE,
            threshold=0,
            period=_HOUR,
            missing="notBreaching",
            kind=BackupKind.DUMP,
        ),
    )


def is_ours(alarm: Alarm, scope: Scope) -> bool:
    """Whether an alarm may be changed: it says that kb-dr made it, or watches our metric."""
    if f"Made by {scope.mark};" in alarm.description:
        return True
    ours = {scope.dimensions(kind) for kind in MEASURED}
    return alarm.namespace == NAMESPACE and alarm.dimensions in ours


def compare_alarm(wanted: Alarm, standing: Alarm | None, scope: Scope) -> Change:
    """What has to be done about one alarm."""
    if standing is None:
        return Change("alarm", wanted.name, Does.CREATE)
    if not is_ours(standing, scope):
        return Change("alarm", wanted.name, Does.NOT_OURS, ("somebody else's has this name",))
    differs = tuple(
        f"{each.name}: {_said(seen)}, expected {_said(expected)}"
        for each in fields(Alarm)
        if (seen := getattr(standing, each.name)) != (expected := getattr(wanted, each.name))
    )
    return Change("alarm", wanted.name, Does.CHANGE if differs else Does.NOTHING, differs)


def compare_log_group(wanted: LogGroup, standing: LogGroup | None) -> Change:
    """What has to be done about one log group.

    Of a group somebody else made the days are only ever raised: fewer would delete what is his.
    """
    if standing is None:
        return Change("log group", wanted.name, Does.CREATE)
    longer = standing.days is None or (wanted.days is not None and standing.days > wanted.days)
    if standing.days == wanted.days or (longer and standing.mark != wanted.mark):
        return Change("log group", wanted.name, Does.NOTHING)
    seen = "for ever" if standing.days is None else f"{standing.days} days"
    return Change(
        "log group", wanted.name, Does.CHANGE, (f"keeps: {seen}, expected {wanted.days} days",)
    )


def dashboard_name(scope: Scope) -> str:
    """What the dashboard is called."""
    return f"{scope.prefix}-Backups"


def wanted_dashboard(scope: Scope, region: str) -> dict[str, Any]:
    """The body of the dashboard: the four metrics, with the thresholds drawn in."""
    heading = {
        "type": "text",
        "x": 0, "y": 0, "width": 24, "height": 2,
        "properties": {
            "markdown": f"# Backups of {scope.service} ({scope.org})\n"
            f"Made by {scope.mark}; whether they restore is for `kb-dr status` to say."
        },
    }  # fmt: skip
    day = OLDEST_HOURS * 3600
    return {
        "widgets": [
            heading,
            _widget(scope, region, 0, 2, "Successes: 1 in an hour with one", Metric.SUCCESS, _HOUR),
            _widget(scope, region, 12, 2, "Failures: 1 in an hour with one", Metric.FAILURE, _HOUR),
            _widget(
                scope, region, 0, 8, "Seconds a backup took", Metric.DURATION, _HOUR,
                (f"{LONGEST_SECONDS // 60} minutes", LONGEST_SECONDS),
            ),
            _widget(
                scope, region, 12, 8, "Seconds since the last backup", Metric.AGE, _MINUTES,
                (f"{OLDEST_HOURS} hours", day),
            ),
        ]
    }  # fmt: skip


def _widget(
    scope: Scope,
    region: str,
    x: int,
    y: int,
    title: str,
    metric: Metric,
    period: int,
    line: tuple[str, float] | None = None,
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "title": title,
        "region": region,
        "view": "timeSeries",
        "stat": "Maximum",
        "period": period,
        "metrics": [
            [
                NAMESPACE,
                str(metric),
                *(part for pair in scope.dimensions(kind) for part in pair),
                {"label": str(kind)},
            ]
            for kind in MEASURED
        ],
        "yAxis": {"left": {"min": 0}},
    }
    if line is not None:
        label, value = line
        properties["annotations"] = {"horizontal": [{"label": label, "value": value}]}
    return {
        "type": "metric", "x": x, "y": y, "width": 12, "height": 6, "properties": properties
    }  # fmt: skip


def compare_dashboard(
    name: str, wanted: Mapping[str, Any], standing: object | None, scope: Scope
) -> Change:
    """What has to be done about the dashboard; ``standing`` is its body as it was read."""
    if standing is None:
        return Change("dashboard", name, Does.CREATE)
    if standing == wanted:
        return Change("dashboard", name, Does.NOTHING)
    if f"Made by {scope.mark};" not in str(standing):
        return Change("dashboard", name, Does.NOT_OURS, ("somebody else's has this name",))
    return Change("dashboard", name, Does.CHANGE, ("its body differs",))


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(
            "=".join(each) if isinstance(each, tuple) else str(each) for each in value
        ) or "none"  # fmt: skip
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
