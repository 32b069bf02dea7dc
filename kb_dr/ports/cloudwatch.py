"""Amazon CloudWatch: metrics and logs go there, alarms and a dashboard stand there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from kb_dr.domain.cloudwatch_alarms import Alarm, LogGroup
    from kb_dr.domain.cloudwatch_metrics import Datapoint, Scope


class CloudWatch(Protocol):
    """One account in one region.

    Each call raises CloudWatchUnavailable when a later try may help by itself, CloudWatchRefused
    when keys or rights are wrong, and AlertError for any other answer.
    """

    def put(self, scope: Scope, points: Sequence[Datapoint]) -> None:
        """Put values of metrics. Nothing tells that they have arrived but the answer."""
        ...

    def tell(self, group: str, stream: str, at: datetime, event: Mapping[str, Any]) -> None:
        """Append one event to a stream of a log group; the stream is made, the group is not."""
        ...

    def alarms(self, names: Sequence[str]) -> dict[str, Alarm]:
        """Those of these names that stand there, of whatever sort."""
        ...

    def put_alarm(self, alarm: Alarm) -> None:
        """Make the alarm of this name, or make it what it should be."""
        ...

    def dashboard(self, name: str) -> object | None:
        """Its body, read as JSON; None when there is none."""
        ...

    def put_dashboard(self, name: str, body: Mapping[str, Any]) -> None:
        """Make it, or replace it."""
        ...

    def log_group(self, name: str) -> LogGroup | None:
        """The group of exactly that name; None when there is none."""
        ...

    def make_log_group(self, group: LogGroup) -> None:
        """Make it, with its mark and its days; nothing happens when it stands already."""
        ...

    def keep_logs(self, name: str, days: int) -> None:
        """Set how long a group keeps its events."""
        ...
