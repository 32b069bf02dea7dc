"""Deliveries: one message on its way to one channel, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kb_dr.domain.message import Message, What


class DeliveryState(StrEnum):
    """How far a message has come."""

    PENDING = "pending"
    SENDING = "sending"
    """Handed to the channel; whether it arrived is not known yet, or never was learned."""
    GROUPED = "grouped"
    """It is part of another message, named by ``grouped_in``."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """The channel refused it, as it was and reduced. It is kept, and listed."""

    @property
    def waits(self) -> bool:
        """Whether it is still to be sent."""
        return self in (DeliveryState.PENDING, DeliveryState.SENDING)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one channel."""

    id: str
    alert_id: str
    """Empty for a group of many."""
    channel: str
    what: What
    sequence: int
    """Of a channel's messages the lower one goes first."""
    message: Message
    created_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    first_tried_at: datetime | None = None
    finished_at: datetime | None = None
    receipt: str = ""
    """What the channel calls it."""
    last_error: str = ""
    reduced: bool = False
    """Whether what is sent is the plain rest of a message that was refused."""
    grouped_in: str = ""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel fares. Of two records of it the later one (``at``) holds."""

    name: str
    at: datetime
    failing_since: datetime | None = None
    """None: the last message was taken."""
    refused: bool = False
    """Whether it answers, and refuses us."""
    attempts: int = 0
    """Failures in a row."""
    next_try_at: datetime | None = None
    last_error: str = ""
    sent: tuple[datetime, ...] = ()
    """When messages were sent to it within the last minute."""
