"""Reach the alerts: in the database, or where records are kept while it does not answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_merge import absorb, broken_again
from kb_dr.domain.alert_rules import Rules
from kb_dr.domain.channel_pace import note_outage, note_return
from kb_dr.errors import OutboxUnavailable
from kb_dr.ports import AlertRecords, Clock, Outbox, OutboxSession

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_SECONDS = 600.0
"""How often records of other machines are looked for."""

_LOOKED: dict[tuple[str, str], float] = {}
"""When this process last looked for them everywhere, by its monotonic clock."""
_FELL_BACK: set[tuple[str, str]] = set()


@dataclass(frozen=True, slots=True)
class Outboxes:
    """Where alerts are kept, the better place first."""

    database: Outbox | None
    records: AlertRecords
    clock: Clock
    rules: Rules

    def use(
        self,
        work: Callable[[OutboxSession], T],
        *,
        seconds: float,
        notes: bool = True,
        look_around: bool = False,
    ) -> tuple[T, str]:
        """What ``work`` returns, and where it was done. It may be called twice: in the database,
        and once more on the records when that fails.

        What was recorded while the database was away is brought into it first. ``notes``: whether
        an outage is noted; who only reads does not, and is told OutboxUnavailable when nobody
        knows what is open. ``look_around``: whether what other machines recorded is looked for
        afterwards, now and then, which asks every repository.
        """
        if self.database is None:
            with self.records.opened(seconds=seconds) as session:
                return work(session), self.records.url
        # Before the database is opened: a repository may take its time.
        left = self._left() if self.records.here() or self._name in _FELL_BACK else None
        try:
            with self.database.opened(seconds=seconds) as session:
                if left is not None:
                    self._bring_in(session, left)
                done = work(session)
            if look_around:
                self._look_around(self.database, seconds)
            return done, self.database.url
        except OutboxUnavailable as error:
            if not notes and not self.records.knows():
                raise  # nothing known is not the same as nothing open
            seen = str(error)
            logger.warning("alerts are kept in records until it answers: %s", seen)
        _FELL_BACK.add(self._name)
        with self.records.opened(seconds=seconds) as session:
            if notes:
                now = self.clock.now()
                session.change(lambda book: note_outage(book, now, seen, self.rules))
            return work(session), self.records.url

    def _look_around(self, database: Outbox, seconds: float) -> None:
        last, now = _LOOKED.get(self._name), self.clock.monotonic()
        if last is not None and 0 <= now - last < _LOOK_SECONDS:
            return
        left = self._left()
        try:
            with database.opened(seconds=seconds) as session:
                self._bring_in(session, left)
        except OutboxUnavailable as error:
            logger.warning("records of alerts are brought in later: %s", error)

    def _left(self) -> tuple[Changes, tuple[str, ...]]:
        found = self.records.left()
        _LOOKED[self._name] = self.clock.monotonic()
        return found

    def _bring_in(self, session: OutboxSession, left: tuple[Changes, tuple[str, ...]]) -> None:
        """Bring into the database what was recorded meanwhile; what was sent is not sent again.

        Cut off at any point it is done again, and changes nothing the second time.
        """
        changes, names = left
        now = self.clock.now()
        if changes:
            session.change(
                lambda book: _absorb(book, changes, now, self.rules),
                keys=sorted(
                    {each.key for each in changes.alerts} | {each.key for each in changes.mended}
                ),
                notices=[
                    *(each[0] for each in changes.notices),
                    *(each.id for each in changes.mended),
                    *(broken_again(each.id) for each in changes.alerts),
                ],
                alerts=sorted(
                    {each.id for each in changes.alerts}
                    | {each.alert_id for each in changes.deliveries}
                ),
            )
            self.records.discard(names)
        _FELL_BACK.discard(self._name)

    @property
    def _name(self) -> tuple[str, str]:
        return (self.database.url if self.database else "", self.records.url)


def _absorb(book: Book, changes: Changes, now: datetime, rules: Rules) -> None:
    absorb(book, changes, now, rules)
    note_return(book, now, rules)
