"""Channels that alerts leave by, and where alerts are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from datetime import datetime

    from kb_dr.domain.alert import Alert
    from kb_dr.domain.alert_book import Book, Changes
    from kb_dr.domain.delivery import Delivery
    from kb_dr.domain.message import Message


class Channel(Protocol):
    """One way to tell people.

    Raises ChannelUnavailable (with ``retry_after_seconds`` where the channel names it) when a
    later try may help by itself, ChannelRefused when somebody has to mend a setting first, and
    MessageRefused for this one message.
    """

    @property
    def name(self) -> str:
        """``slack``, ``slack-bot``, ``email``, ``sns``, ``pagerduty`` or ``webhook``."""
        ...

    @property
    def groups(self) -> bool:
        """Whether many messages may come as one; not where each alert is opened and closed."""
        ...

    def check(self) -> str:
        """What was seen when it was tried as far as that goes without telling anybody anything."""
        ...

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        """Deliver one message within its deadline; what the channel calls it.

        ``tried_since``: when it was first tried, if it was, and may have arrived then. A channel
        that can be asked looks for it first and sends nothing when it is there.
        """
        ...


class Outbox(Protocol):
    """Where alerts and their messages are kept until they have arrived.

    Raises OutboxUnavailable, also for what it refuses: there is another outbox to fall back on.
    """

    @property
    def url(self) -> str:
        """Where it is, for people; never with a secret."""
        ...

    def opened(self, *, seconds: float) -> AbstractContextManager[OutboxSession]:
        """Work on it, for no longer than so many seconds."""
        ...


class OutboxSession(Protocol):
    """The outbox at work."""

    def claim_delivery(self) -> bool:
        """Become the one who delivers, until the session ends; False when another one is."""
        ...

    def change(
        self,
        decide: Callable[[Book], None],
        *,
        keys: Collection[str] = (),
        notices: Collection[str] = (),
        alerts: Collection[str] = (),
    ) -> Book:
        """Let ``decide`` change the book, keep what it changed as a whole, and return the book.

        One at a time, over all processes. The book holds all that is open or waits to be sent,
        the newest alert of each of ``keys``, those ``alerts`` with all their deliveries, and
        which of ``notices`` were taken. ``decide`` may be called again when it is not kept.
        """
        ...

    def keep(self, changes: Changes) -> None:
        """Keep what became of deliveries and channels; only who claimed delivery does."""
        ...

    def alerts(self, *, closed: bool) -> tuple[Alert, ...]:
        """Those that are open, oldest first; with ``closed`` all there are."""
        ...

    def deliveries(self, alert_id: str) -> tuple[Delivery, ...]:
        """All messages of one alert, in order."""
        ...

    def unsent(self) -> tuple[Delivery, ...]:
        """What waits to be sent, and what no channel would take."""
        ...

    def forget(self, *, now: datetime, most: int) -> int:
        """Remove what is kept no longer (alert_merge.KEPT), at most so much; how much it was."""
        ...


class AlertRecords(Outbox, Protocol):
    """The last resort: small records beside the backups, and on this machine."""

    def here(self) -> bool:
        """Whether there are records on this machine; quick."""
        ...

    def knows(self) -> bool:
        """Whether it can tell what is open while the database does not answer: there is a young
        mirror, or there are records on this machine.
        """
        ...

    def left(self) -> tuple[Changes, tuple[str, ...]]:
        """All that is recorded, and the names of the records; nothing when there are none.

        A place that does not answer is passed over.
        """
        ...

    def discard(self, names: Collection[str]) -> None:
        """Remove records whose content stands elsewhere; what cannot be removed stays."""
        ...

    def keep_mirror(self, book: Book) -> None:
        """Note on this machine what the database holds, for the time it does not answer."""
        ...
