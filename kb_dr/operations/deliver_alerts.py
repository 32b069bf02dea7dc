"""Deliver what waits: every channel by itself, in order, at least once."""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_upkeep import group_waiting, in_order, look_after, never_told
from kb_dr.domain.channel_pace import failed, may_send, tell_of_channels
from kb_dr.domain.delivery import ChannelState, Delivery
from kb_dr.errors import OutboxUnavailable
from kb_dr.operations.reach_outbox import Outboxes
from kb_dr.operations.serve_channel import ChannelWorker, Round
from kb_dr.ports import Channel, OutboxSession

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0
"""Longer than any channel's own deadline: what does not return by then is left alone."""
_FORGOTTEN_AT_ONCE = 500
_LEAST_SECONDS = 5.0
"""So long is delivered in any case, however long a database took to fail."""

_AT_WORK: dict[tuple[str, str], ChannelWorker] = {}
"""Threads that were left alone, by outbox and channel: no second one is sent after them."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round of delivery came to."""

    sent: int = 0
    waiting: int = 0
    """Messages that are still to be sent, to whatever channel."""
    dead: int = 0
    """Messages that no try will bring to their channel; `kb-dr alerts list` shows them."""
    failing: tuple[str, ...] = ()
    """Channels that took nothing when they were last tried."""
    busy: bool = False
    """Whether nothing was done, since another process delivers."""
    kept_in: str = ""

    def __str__(self) -> str:
        said = f"{self.sent} messages sent, {self.waiting} wait"
        if self.busy:
            said = f"another process delivers; {self.waiting} messages wait"
        if self.dead:
            said += f", {self.dead} will never arrive"
        if self.failing:
            said += f"; {', '.join(self.failing)} takes nothing"
        return f"{said}; kept in {self.kept_in}" if self.kept_in else said


def deliver_alerts(
    outboxes: Outboxes,
    channels: Sequence[Channel],
    *,
    seconds: float,
    patience_seconds: float = PATIENCE_SECONDS,
    chance: Callable[[], float] = random.random,
) -> Delivered:
    """Send what is due, beginning nothing more after so many seconds. One process at a time.

    Each message is at least once delivered, each channel in order, and one that is down holds up
    itself alone. Killed at any point, what was being sent is tried again, with word of since when.
    """

    until = outboxes.clock.monotonic() + seconds

    def work(session: OutboxSession) -> Delivered:
        if not session.claim_delivery():
            return Delivered(busy=True)
        # The second time, on records, there is no second helping of time: who calls has a limit.
        left = max(until - outboxes.clock.monotonic(), min(seconds, _LEAST_SECONDS))
        done = _Delivery(outboxes, session, channels, chance).round(left, patience_seconds)
        session.forget(now=outboxes.clock.now(), most=_FORGOTTEN_AT_ONCE)
        return done

    done, where = outboxes.use(work, seconds=seconds + patience_seconds + 30, look_around=True)
    return replace(done, kept_in=where)


class _Delivery:
    """One round."""

    def __init__(
        self,
        outboxes: Outboxes,
        session: OutboxSession,
        channels: Sequence[Channel],
        chance: Callable[[], float],
    ) -> None:
        self._outboxes = outboxes
        self._session = session
        self._channels = channels
        self._chance = chance
        self._clock = outboxes.clock
        self._alone = threading.Lock()
        self._broken: OutboxUnavailable | None = None
        self._noted: list[Changes] = []
        self._still_away: list[str] = []

    def round(self, seconds: float, patience: float) -> Delivered:
        try:
            return self._round(seconds, patience)
        except OutboxUnavailable:
            # Else what was sent just now would go out again by an older record of it.
            with self._outboxes.records.opened(seconds=PATIENCE_SECONDS) as session:
                for changes in self._noted:
                    session.keep(changes)
            raise

    def _round(self, seconds: float, patience: float) -> Delivered:
        until = self._clock.monotonic() + seconds
        book = self._session.change(self._prepare)
        self._mirror(book)
        workers = self._begin(book, until)
        # All of them together: each has had its time while another one was waited for.
        began, most = time.monotonic(), max(0.0, until - self._clock.monotonic()) + patience
        for worker in workers:
            worker.join(max(0.0, began + most - time.monotonic()))
        stuck = [worker for worker in workers if not worker.ended]
        for worker in stuck:
            worker.leave()
            if worker.is_alive():
                _AT_WORK[self._name(worker.channel)] = worker
        if self._broken is not None:
            raise self._broken  # the rest goes out by what is recorded
        dead = [each for worker in workers for each in worker.dead]
        book = self._session.change(
            lambda book: self._finish(book, stuck, dead),
            alerts=sorted({each.alert_id for each in dead}),
        )
        self._mirror(book)
        states = [book.channels.get(channel.name) for channel in self._channels]
        return Delivered(
            sent=sum(worker.sent for worker in workers),
            waiting=sum(each.state.waits for each in book.deliveries.values()),
            dead=len(dead),
            failing=tuple(each.name for each in states if each and each.failing_since),
        )

    def _mirror(self, book: Book) -> None:
        if not book.partial:
            self._outboxes.records.keep_mirror(book)

    def _prepare(self, book: Book) -> None:
        now, rules = self._clock.now(), self._outboxes.rules
        look_after(book, now, rules)
        for channel in self._channels:
            state = book.channels.get(channel.name)
            if state is None or may_send(state, now):
                group_waiting(book, channel.name, now, rules)

    def _begin(self, book: Book, until: float) -> list[ChannelWorker]:
        now = self._clock.now()
        shared = Round(self._clock, until, self._keep, self._chance)
        workers: list[ChannelWorker] = []
        for channel in self._channels:
            waiting = in_order(book, channel.name)
            state = book.channels.get(channel.name) or ChannelState(channel.name, now)
            there = _AT_WORK.get(self._name(channel))
            if there is not None and there.is_alive():
                self._still_away.append(channel.name)
                continue
            _AT_WORK.pop(self._name(channel), None)
            if waiting and may_send(state, now):
                workers.append(ChannelWorker(channel, waiting, state, shared))
                workers[-1].start()
        return workers

    def _keep(self, changes: Changes) -> None:
        """In the database; once that fails in the records, for what was sent must be known."""
        with self._alone:
            if self._broken is None:
                try:
                    self._session.keep(changes)
                except OutboxUnavailable as error:
                    logger.warning("alerts are noted in records from here on: %s", error)
                    self._broken = error
                else:
                    self._noted.append(changes)
                    return
            with self._outboxes.records.opened(seconds=PATIENCE_SECONDS) as session:
                session.keep(changes)

    def _finish(self, book: Book, stuck: Sequence[ChannelWorker], dead: Sequence[Delivery]) -> None:
        now = self._clock.now()
        for each in dead:
            never_told(book, each)
        for name in (*self._still_away, *(worker.channel.name for worker in stuck)):
            state = book.channels.get(name) or ChannelState(name, now)
            seen = f"send to {name}: it did not come back"
            book.put_channel(failed(state, now, seen, chance=self._chance()))
        names = {channel.name for channel in self._channels}
        tell_of_channels(book, now, self._outboxes.rules, configured=names)

    def _name(self, channel: Channel) -> tuple[str, str]:
        return self._outboxes.records.url, channel.name
