"""The book of alerts: what the rules look at and change, whoever keeps it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from kb_dr.domain.alert import Alert
from kb_dr.domain.delivery import ChannelState, Delivery
from kb_dr.domain.notice import Notice


@dataclass(frozen=True, slots=True)
class Changes:
    """What one step changed: kept as a whole, or not at all."""

    alerts: tuple[Alert, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    channels: tuple[ChannelState, ...] = ()
    notices: tuple[tuple[str, datetime], ...] = ()
    """Ids of notices that had an effect, and when they were taken."""
    mended: tuple[Notice, ...] = ()
    """Of conditions this book knows nothing of, and another one may."""

    def __bool__(self) -> bool:
        return bool(self.alerts or self.deliveries or self.channels or self.notices or self.mended)


@dataclass(slots=True)
class Book:
    """As much of the alerts as a step needs: all that are open, and all that waits to be sent."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    channels: dict[str, ChannelState] = field(default_factory=dict)
    notices: dict[str, datetime] = field(default_factory=dict)
    mended: dict[str, Notice] = field(default_factory=dict)
    """By key, the newest."""
    last_sequence: int = 0
    partial: bool = False
    """Whether another book may hold alerts that this one does not."""
    _changed: dict[str, set[str]] = field(default_factory=dict)

    def open_of(self, key: str) -> Alert | None:
        """The alert of that key that lasts."""
        return next((each for each in self.alerts.values() if each.key == key and each.open), None)

    def closed_of(self, key: str) -> Alert | None:
        """The alert of that key that was closed last."""
        found = [
            each
            for each in self.alerts.values()
            if each.key == key and not each.open and not each.is_told_once and not each.folded_into
        ]
        return max(found, key=lambda each: each.last_seen_at, default=None)

    def waiting(self, channel: str) -> list[Delivery]:
        """What is still to be sent there, in order."""
        found = [
            each
            for each in self.deliveries.values()
            if each.channel == channel and each.state.waits
        ]
        return sorted(found, key=lambda each: (each.sequence, each.id))

    def put_alert(self, alert: Alert) -> Alert:
        """Take a changed alert, as its next version."""
        there = self.alerts.get(alert.id)
        if there is not None:
            alert = replace(alert, version=there.version + 1)
        self.alerts[alert.id] = alert
        self.mark("alerts", alert.id)
        return alert

    def put_delivery(self, delivery: Delivery) -> None:
        """Take a new or changed delivery."""
        self.deliveries[delivery.id] = delivery
        self.last_sequence = max(self.last_sequence, delivery.sequence)
        self.mark("deliveries", delivery.id)

    def put_channel(self, state: ChannelState) -> None:
        """Take what became of a channel."""
        self.channels[state.name] = state
        self.mark("channels", state.name)

    def put_notice(self, notice_id: str, at: datetime) -> None:
        """Remember that a notice was taken."""
        self.notices[notice_id] = at
        self.mark("notices", notice_id)

    def put_mended(self, notice: Notice) -> None:
        """Keep for another book that a condition is no more."""
        there = self.mended.get(notice.key)
        if there is None or there.at < notice.at:
            self.mended[notice.key] = notice
            self.mark("mended", notice.key)

    def next_sequence(self, now: datetime) -> int:
        """Larger than any before, also when the clock was set back."""
        self.last_sequence = max(self.last_sequence + 1, int(now.timestamp() * 1_000_000))
        return self.last_sequence

    def changes(self) -> Changes:
        """What was changed since it was read."""

        def of(kind: str) -> Iterable[str]:
            return sorted(self._changed.get(kind, ()))

        return Changes(
            tuple(self.alerts[each] for each in of("alerts")),
            tuple(self.deliveries[each] for each in of("deliveries")),
            tuple(self.channels[each] for each in of("channels")),
            tuple((each, self.notices[each]) for each in of("notices")),
            tuple(self.mended[each] for each in of("mended")),
        )

    def whole(self) -> Changes:
        """All of it, as if it had just been written."""
        return Changes(
            tuple(self.alerts.values()),
            tuple(self.deliveries.values()),
            tuple(self.channels.values()),
            tuple(self.notices.items()),
            tuple(self.mended.values()),
        )

    def settle(self) -> None:
        """All of it is kept as it is now."""
        self._changed.clear()

    def mark(self, kind: str, name: str) -> None:
        """Say that something of the book was changed."""
        self._changed.setdefault(kind, set()).add(name)
