"""Channels that alerts leave by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

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
