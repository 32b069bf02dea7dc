"""Amazon CloudWatch through boto3, which is imported when first used."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from kb_dr.adapters.aws_answers import code_of, error_of
from kb_dr.domain.cloudwatch_alarms import Alarm, LogGroup
from kb_dr.domain.cloudwatch_metrics import NAMESPACE, UNITS, Datapoint, Scope
from kb_dr.settings import CloudWatchSettings

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient

T = TypeVar("T")

_TAG = "kb-dr"
_AT_ONCE = 500
"""PutMetricData takes 1,000 values in one call."""
_MISSING = frozenset({"ResourceNotFound", "ResourceNotFoundException", "DashboardNotFoundError"})
_THERE = "ResourceAlreadyExistsException"
_NEVER_OURS = (
    "EvaluateLowSampleCountPercentile", "ExtendedStatistic", "Metrics", "ThresholdMetricId",
)  # fmt: skip


class AwsCloudWatch:
    """Implements kb_dr.ports.CloudWatch."""

    def __init__(self, settings: CloudWatchSettings, *, patient: bool) -> None:
        self._settings = settings
        self._patient = patient

    def put(self, scope: Scope, points: Sequence[Datapoint]) -> None:
        for begin in range(0, len(points), _AT_ONCE):
            values: list[Any] = [
                {
                    "MetricName": str(each.metric),
                    "Dimensions": _named(scope.dimensions(each.kind)),
                    "Timestamp": each.at,
                    "Value": each.value,
                    "Unit": UNITS[each.metric],
                }
                for each in points[begin : begin + _AT_ONCE]
            ]
            _done(
                "put metrics into CloudWatch",
                partial(self._put_values, values),
            )

    def _put_values(self, values: list[Any]) -> None:
        self._metrics.put_metric_data(Namespace=NAMESPACE, MetricData=values)

    def tell(self, group: str, stream: str, at: datetime, event: Mapping[str, Any]) -> None:
        what = f"put an event into log group {group}"
        line: Any = {
            "timestamp": int(at.timestamp() * 1000),
            "message": json.dumps(event, sort_keys=True),
        }

        def send() -> object:
            return self._logs.put_log_events(
                logGroupName=group, logStreamName=stream, logEvents=[line]
            )

        if _found(what, send) is None:
            _made(
                f"{what}: make stream {stream}",
                lambda: self._logs.create_log_stream(logGroupName=group, logStreamName=stream),
            )
            _done(what, send)

    def alarms(self, names: Sequence[str]) -> dict[str, Alarm]:
        answer = _done(
            "ask CloudWatch for its alarms",
            lambda: self._metrics.describe_alarms(
                AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
            ),
        )
        found = [*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())]
        return {str(raw["AlarmName"]): _alarm(dict(raw)) for raw in found}

    def put_alarm(self, alarm: Alarm) -> None:
        values: Any = {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "Namespace": alarm.namespace,
            "MetricName": alarm.metric,
            "Dimensions": _named(alarm.dimensions),
            "Statistic": alarm.statistic,
            "Period": alarm.period_seconds,
            "EvaluationPeriods": alarm.evaluation_periods,
            "DatapointsToAlarm": alarm.datapoints_to_alarm,
            "Threshold": alarm.threshold,
            "ComparisonOperator": alarm.comparison,
            "TreatMissingData": alarm.missing,
            "ActionsEnabled": alarm.actions_enabled,
            "AlarmActions": list(alarm.alarm_actions),
            "OKActions": list(alarm.ok_actions),
            "InsufficientDataActions": list(alarm.insufficient_data_actions),
        }
        _done(f"put alarm {alarm.name}", lambda: self._metrics.put_metric_alarm(**values))

    def dashboard(self, name: str) -> object | None:
        answer = _found(
            f"get dashboard {name}", lambda: self._metrics.get_dashboard(DashboardName=name)
        )
        if answer is None:
            return None
        try:
            body: object = json.loads(answer["DashboardBody"])
        except ValueError:
            return answer["DashboardBody"]  # somebody else's, then
        return body

    def put_dashboard(self, name: str, body: Mapping[str, Any]) -> None:
        _done(
            f"put dashboard {name}",
            lambda: self._metrics.put_dashboard(
                DashboardName=name, DashboardBody=json.dumps(body, sort_keys=True)
            ),
        )

    def log_group(self, name: str) -> LogGroup | None:
        what = f"look at log group {name}"
        answer = _done(
            what, lambda: self._logs.describe_log_groups(logGroupNamePrefix=name, limit=50)
        )
        raw = next((each for each in answer["logGroups"] if each["logGroupName"] == name), None)
        if raw is None:
            return None
        arn = raw["arn"].removesuffix(":*")
        tags = _done(what, lambda: self._logs.list_tags_for_resource(resourceArn=arn))["tags"]
        return LogGroup(name, raw.get("retentionInDays"), tags.get(_TAG, ""))

    def make_log_group(self, group: LogGroup) -> None:
        _made(
            f"make log group {group.name}",
            lambda: self._logs.create_log_group(logGroupName=group.name, tags={_TAG: group.mark}),
        )

    def keep_logs(self, name: str, days: int) -> None:
        _done(
            f"set how long log group {name} keeps events",
            lambda: self._logs.put_retention_policy(logGroupName=name, retentionInDays=days),
        )

    @cached_property
    def _metrics(self) -> "CloudWatchClient":
        return self._session.client(
            "cloudwatch", endpoint_url=self._settings.endpoint_url, config=self._config
        )

    @cached_property
    def _logs(self) -> "CloudWatchLogsClient":
        return self._session.client(
            "logs", endpoint_url=self._settings.endpoint_url, config=self._config
        )

    @cached_property
    def _session(self) -> "Session":
        import boto3
        import botocore.session

        given, secret, token = (
            self._settings.access_key_id,
            self._settings.secret_access_key,
            self._settings.session_token,
        )
        # As for S3: keys of the settings, and no profile that the environment names; a session
        # of its own, for threads.
        no_profile = {"profile": (None, None, None, None)} if given else None
        return boto3.session.Session(
            botocore_session=botocore.session.Session(session_vars=no_profile),
            region_name=self._settings.region,
            aws_access_key_id=given,
            aws_secret_access_key=secret.reveal() if secret else None,
            aws_session_token=token.reveal() if token else None,
        )

    @cached_property
    def _config(self) -> "Config":
        from botocore.config import Config

        newer: dict[str, Any] = {"ignore_configured_endpoint_urls": True}  # not in the stubs yet
        return Config(
            **newer,
            connect_timeout=10 if self._patient else 2,
            read_timeout=30 if self._patient else 3,
            retries={"total_max_attempts": 4 if self._patient else 1, "mode": "standard"},
        )


def _made(what: str, call: Callable[[], object]) -> None:
    """Make it; what is there already is made. Raises as _done() does."""
    from botocore.exceptions import ClientError

    def unless_there() -> None:
        try:
            call()
        except ClientError as error:
            if code_of(error) != _THERE:
                raise

    _done(what, unless_there)


def _done(what: str, call: Callable[[], T]) -> T:
    """What ``call`` returns. Raises ours, without the vendor's."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call()
    except (BotoCoreError, ClientError, OSError) as error:
        failed = error_of(error, what)
    raise failed


def _found(what: str, call: Callable[[], T]) -> T | None:
    """The same; None when what was asked for is not there."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call()
    except (BotoCoreError, ClientError, OSError) as error:
        if code_of(error) in _MISSING:
            return None
        failed = error_of(error, what)
    raise failed


def _named(dimensions: Sequence[tuple[str, str]]) -> Any:
    return [{"Name": name, "Value": value} for name, value in dimensions]


def _alarm(raw: dict[str, Any]) -> Alarm:
    """A composite alarm has none of a metric's fields, and so is like none of ours."""
    return Alarm(
        name=raw["AlarmName"],
        description=raw.get("AlarmDescription", ""),
        namespace=raw.get("Namespace", ""),
        metric=raw.get("MetricName", ""),
        dimensions=tuple(sorted((d["Name"], d["Value"]) for d in raw.get("Dimensions", ()))),
        statistic=raw.get("Statistic", ""),
        period_seconds=raw.get("Period", 0),
        evaluation_periods=raw.get("EvaluationPeriods", 0),
        # Where it is not set, all of them have to be beyond the threshold.
        datapoints_to_alarm=raw.get("DatapointsToAlarm") or raw.get("EvaluationPeriods", 0),
        threshold=raw.get("Threshold", 0.0),
        comparison=raw.get("ComparisonOperator", ""),
        missing=raw.get("TreatMissingData") or "missing",
        alarm_actions=tuple(raw.get("AlarmActions", ())),
        ok_actions=tuple(raw.get("OKActions", ())),
        insufficient_data_actions=tuple(raw.get("InsufficientDataActions", ())),
        actions_enabled=raw.get("ActionsEnabled", True),
        unit=raw.get("Unit") or None,
        others=tuple(name for name in _NEVER_OURS if raw.get(name)),
    )
