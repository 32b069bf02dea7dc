"""Send what waits for one channel, in order, each message noted before and after it goes."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kb_dr.domain.alert_book import Changes
from kb_dr.domain.alert_message import reduced
from kb_dr.domain.channel_pace import failed, may_send, refused_for_good, took
from kb_dr.domain.delivery import ChannelState, Delivery, DeliveryState
from kb_dr.errors import ChannelRefused, ChannelUnavailable, KbDrError, MessageRefused
from kb_dr.logs import bound, bound_ids
from kb_dr.ports import Channel, Clock

logger = logging.getLogger(__name__)

MOST_TRIES = 20
"""Of a message that is refused in plain text as well: some four hours."""


@dataclass(slots=True)
class Round:
    """What all channels of one round share."""

    clock: Clock
    until: float
    """By the monotonic clock: nothing is begun after it."""
    keep: Callable[[Changes], None]
    chance: Callable[[], float]


class ChannelWorker(threading.Thread):
    """One channel's thread. It outlives its round only if the channel keeps none of its deadlines;
    what it learns then is not noted, and the next try says since when it may have arrived.
    """

    def __init__(
        self, channel: Channel, waiting: Sequence[Delivery], state: ChannelState, round_: Round
    ) -> None:
        super().__init__(name=f"kb-dr alerts to {channel.name}", daemon=True)
        self.channel = channel
        self.waiting = tuple(waiting)
        self.state = state
        self.sent = 0
        self.dead: list[Delivery] = []
        self.ended = False
        """False also after an error that is none of ours."""
        self._round = round_
        self._ids = bound_ids()  # a thread begins without any
        self._left = threading.Event()

    def leave(self) -> None:
        """Nothing it learns from here on is noted."""
        self._left.set()

    def run(self) -> None:
        clock = self._round.clock
        for delivery in self.waiting:
            if self._left.is_set() or clock.monotonic() >= self._round.until:
                break
            if not may_send(self.state, clock.now()):
                break
            with bound(**{**self._ids, "alert_id": delivery.alert_id}):
                if not self._send(delivery):
                    break
        self.ended = True

    def _send(self, delivery: Delivery) -> bool:
        """Whether the next one may go."""
        now = self._round.clock.now()
        tried_since = delivery.first_tried_at
        delivery = replace(
            delivery,
            state=DeliveryState.SENDING,
            attempts=delivery.attempts + 1,
            first_tried_at=tried_since or now,
        )
        # Before it goes: after a kill the next try knows that it may have arrived.
        self._keep(delivery)
        try:
            receipt = self.channel.send(delivery.message, tried_since=tried_since)
        except MessageRefused as error:
            return self._refused(delivery, str(error))
        except ChannelUnavailable as error:
            self._fails(delivery, str(error), retry_after=error.retry_after_seconds)
            return False
        except ChannelRefused as error:
            self._fails(delivery, str(error), refused=True)
            return False
        except Exception as error:  # a bug is raised again, or refuses this one message
            if delivery.reduced or isinstance(error, KbDrError):
                raise  # the plainest text does it as well: it is the channel
            # A bug that one text brings out must not stop what is behind it for ever.
            return self._refused(delivery, type(error).__name__)
        now = self._round.clock.now()
        self.state = took(self.state, now)
        self.sent += 1
        logger.info("%s went out by %s", delivery.id, self.channel.name)
        self._keep(
            replace(
                delivery,
                state=DeliveryState.DELIVERED,
                finished_at=now,
                receipt=receipt,
                last_error="",
            )
        )
        return True

    def _fails(
        self, delivery: Delivery, seen: str, *, refused: bool = False,
        retry_after: float | None = None,
    ) -> None:  # fmt: skip
        logger.warning("an alert waits for %s: %s", self.channel.name, seen)
        self.state = failed(
            self.state,
            self._round.clock.now(),
            seen,
            chance=self._round.chance(),
            refused=refused,
            retry_after=retry_after,
        )
        self._keep(replace(delivery, state=DeliveryState.PENDING, last_error=seen))

    def _refused(self, delivery: Delivery, seen: str) -> bool:
        """Once more with the plain rest of it. Where that is refused it is not the message but the
        channel, most likely: it waits as for one that refuses us, and is given up after many tries
        lest what is behind it waits for ever."""
        now = self._round.clock.now()
        if not delivery.reduced:
            self.state = took(self.state, now)
            logger.warning("%s refuses a message, which is reduced: %s", self.channel.name, seen)
            delivery = replace(
                delivery,
                state=DeliveryState.PENDING,
                message=reduced(delivery.message),
                reduced=True,
                last_error=seen,
            )
            self._keep(delivery)
            return self._send(delivery)
        if delivery.attempts < MOST_TRIES:
            self._fails(delivery, seen, refused=True)
            return False
        logger.error("%s refuses an alert for good: %s: %s", self.channel.name, delivery.id, seen)
        delivery = replace(delivery, state=DeliveryState.DEAD, finished_at=now, last_error=seen)
        self.state = refused_for_good(self.state, now, seen)
        self.dead.append(delivery)
        self._keep(delivery)
        return True

    def _keep(self, delivery: Delivery) -> None:
        if not self._left.is_set():
            self._round.keep(Changes(deliveries=(delivery,), channels=(self.state,)))
