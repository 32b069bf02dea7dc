"""Readiness, and the week in one message: what is shown to whoever answers for the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kb_dr.domain.severity import Severity
from kb_dr.installation.alerting import Alerting
from kb_dr.installation.deadman import Deadman
from kb_dr.installation.reports import Reports

if TYPE_CHECKING:
    from kb_dr.domain.alert import Alert
    from kb_dr.domain.notice import Notice
    from kb_dr.domain.readiness import OpenAlert, Readiness
    from kb_dr.domain.status import Status

_DELIVER_SECONDS = 60.0


class Readying(Reports, Alerting, Deadman):
    """Says whether the service could be recovered now, and tells the week."""

    if TYPE_CHECKING:

        def status(self, *, everything: bool = False) -> Status:
            """Of Installation."""
            ...

    def readiness(self) -> Readiness:
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
            watched_at=self.last_watch,
        )

    def draw_readiness(self, readiness: Readiness) -> bytes:
        """How RTO, RPO, size, duration and coverage went, as a picture (PNG)."""
        from kb_dr.adapters.readiness_picture import draw_readiness

        objectives = self.settings.objectives
        return draw_readiness(
            readiness.trends,
            rto_seconds=objectives.rto_seconds,
            rpo_seconds=objectives.rpo_seconds,
            title=f"Recovery of {readiness.service}",
        )

    def weekly_digest(self, *, run_id: str = "") -> Notice:
        """The week in one message, not sent."""
        from kb_dr.domain.weekly_digest import weekly_digest

        readiness = self.readiness()
        alerts = None if readiness.alerts is None else self._every_alert()
        return weekly_digest(readiness, alerts, run_id=run_id)

    def tell_the_week(self, *, run_id: str = "") -> Notice:
        """Send the week's digest to whom it concerns; one of this week that was sent is not sent
        again.
        """
        notice = self.weekly_digest(run_id=run_id)
        self.take([notice])
        self.deliver(seconds=_DELIVER_SECONDS)
        return notice

    def _open_alerts(self) -> tuple[OpenAlert, ...]:
        return tuple(_as_open(each) for each in self.alerts() if _calls(each))

    def _every_alert(self) -> tuple[OpenAlert, ...] | None:
        from kb_dr.errors import KbDrError

        try:
            found = self.alerts(all=True)
        except KbDrError:
            return None  # they went away between two looks: the digest says so
        return tuple(_as_open(each) for each in found if _calls(each))


def _calls(alert: Alert) -> bool:
    """Whether it calls for anybody: a success, or this very digest, does not."""
    return alert.severity is not Severity.INFO


def _as_open(alert: Alert) -> OpenAlert:
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
