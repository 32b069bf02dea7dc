"""Readiness, and the week in one message: what is shown to whoever answers for the service."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from kb_dr.domain.severity import Severity
from kb_dr.errors import OutboxUnavailable
from kb_dr.installation.reports import Reports

if TYPE_CHECKING:
    from kb_dr.domain.notice import Notice
    from kb_dr.domain.readiness import OpenAlert, Readiness
    from kb_dr.domain.status import Status

_DELIVER_SECONDS = 60.0


class KeptAlert(Protocol):
    """What is read of an alert."""

    @property
    def kind(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def title(self) -> str: ...
    @property
    def do(self) -> str: ...
    @property
    def opened_at(self) -> datetime: ...
    @property
    def closed_at(self) -> datetime | None: ...
    @property
    def acknowledged_at(self) -> datetime | None: ...


class AlertKeeper(Protocol):
    """What keeps the alerts, as far as it is needed here."""

    def alerts(self, *, all: bool = False) -> Sequence[KeptAlert]:  # noqa: A002 - its public name
        """Those open; or all of them. Raises KbDrError when they cannot be read."""
        ...

    def take(self, notices: "Sequence[Notice]") -> Any:
        """Note these, once each."""
        ...

    def deliver(self, *, seconds: float) -> Any:
        """Send what is due."""
        ...


class Readying(Reports):
    """Says whether the service could be recovered now, and tells the week."""

    if TYPE_CHECKING:

        def status(self, *, everything: bool = False) -> "Status":
            """Of Installation."""
            ...

    def readiness(self) -> "Readiness":
        """Could we recover now, what was promised beside what was measured, what to do next.

        Raises nothing of ours but for settings that cannot be used: what cannot be looked at
        keeps the answer from being yes.
        """
        from kb_dr.domain.trends import DAYS
        from kb_dr.operations.take_readiness import take_readiness

        settings = self.settings
        return take_readiness(
            self._to_be_looked_at(),
            settings.objectives,
            service=settings.service,
            org=settings.org,
            status=self.status(),
            reports=lambda: self.reports(days=DAYS),
            judged=lambda: self.reports_judged(days=_recent_days()),
            drills=self.drills,
            controls=self.controls,
            alerts=self._open_alerts,
        )

    def draw_readiness(self, readiness: "Readiness") -> bytes:
        """How RTO, RPO, size, duration and coverage went, as a picture (PNG)."""
        from kb_dr.adapters.readiness_picture import draw_readiness

        objectives = self.settings.objectives
        return draw_readiness(
            readiness.trends,
            rto_seconds=objectives.rto_seconds,
            rpo_seconds=objectives.rpo_seconds,
            title=f"Recovery of {readiness.service}",
        )

    def weekly_digest(self, *, run_id: str = "") -> "Notice":
        """The week in one message, not sent."""
        from kb_dr.domain.weekly_digest import weekly_digest

        readiness = self.readiness()
        alerts = None if readiness.alerts is None else self._every_alert()
        return weekly_digest(readiness, alerts, run_id=run_id)

    def tell_the_week(self, *, run_id: str = "") -> "Notice":
        """Send the week's digest to whom it concerns; one of this week that was sent is not sent
        again.
        """
        notice, keeper = self.weekly_digest(run_id=run_id), self._keeper()
        keeper.take([notice])
        keeper.deliver(seconds=_DELIVER_SECONDS)
        return notice

    def _open_alerts(self) -> "tuple[OpenAlert, ...]":
        return tuple(_as_open(each) for each in self._keeper().alerts() if _calls(each))

    def _every_alert(self) -> "tuple[OpenAlert, ...] | None":
        from kb_dr.errors import KbDrError

        try:
            found = self._keeper().alerts(all=True)
        except KbDrError:
            return None  # they went away between two looks: the digest says so
        return tuple(_as_open(each) for each in found if _calls(each))

    def _keeper(self) -> AlertKeeper:
        if not hasattr(self, "alerts"):
            raise OutboxUnavailable("read the alerts: nothing keeps them here")
        return cast(AlertKeeper, self)


def _calls(alert: KeptAlert) -> bool:
    """Whether it calls for anybody: a success, or this very digest, does not."""
    return alert.severity is not Severity.INFO


def _as_open(alert: KeptAlert) -> "OpenAlert":
    from kb_dr.domain.readiness import OpenAlert

    return OpenAlert(
        kind=alert.kind,
        severity=alert.severity,
        title=alert.title,
        opened_at=alert.opened_at,
        closed_at=alert.closed_at,
        acknowledged=alert.acknowledged_at is not None,
        do=alert.do,
    )


def _recent_days() -> float:
    from kb_dr.domain.judge_integrity import RECENT_DAYS

    return RECENT_DAYS
