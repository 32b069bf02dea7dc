"""Two books of the same alerts made one, whatever order their changes come in."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_rules import Rules, close, take_notice
from kb_dr.domain.delivery import ChannelState, Delivery, DeliveryState

KEPT = timedelta(days=400)
"""How long a closed alert is kept."""
NOTICES_KEPT = timedelta(days=35)
"""How long a notice is known again by its id; what is older is stale by its time."""

_FAR = {
    DeliveryState.PENDING: 0,
    DeliveryState.SENDING: 0,
    DeliveryState.GROUPED: 1,
    DeliveryState.DEAD: 2,
    DeliveryState.DELIVERED: 3,
}


def merge(book: Book, changes: Changes) -> None:
    """Take over what is later, or farther, than what the book has. Nothing is told by this."""
    for alert in changes.alerts:
        there = book.alerts.get(alert.id)
        if there is None or _order(alert) > _order(there):
            if there is not None:
                also = tuple(each for each in there.told if each not in alert.told)
                alert = replace(alert, told=(*alert.told, *also))
            book.alerts[alert.id] = alert
            book.mark("alerts", alert.id)
    for delivery in changes.deliveries:
        known = book.deliveries.get(delivery.id)
        if known is None or _far(delivery) > _far(known):
            book.put_delivery(delivery)
    for state in changes.channels:
        seen = book.channels.get(state.name)
        if seen is None or _later(state, seen):
            book.put_channel(state)
    for notice_id, at in changes.notices:
        if notice_id not in book.notices:
            book.put_notice(notice_id, at)
    for notice in changes.mended:
        book.put_mended(notice)


def absorb(book: Book, changes: Changes, now: datetime, rules: Rules) -> None:
    """Bring in what another store took down while this one did not answer.

    What was sent is not sent again. One condition that both opened an alert of becomes one.
    """
    merge(book, changes)
    for key in sorted({alert.key for alert in changes.alerts if not alert.is_told_once}):
        _make_one(book, key, now, rules)
    for notice in sorted(changes.mended, key=lambda each: each.at):
        take_notice(book, notice, now, rules)


def _make_one(book: Book, key: str, now: datetime, rules: Rules) -> None:
    there = sorted(
        (each for each in book.alerts.values() if each.key == key and each.open),
        key=lambda each: (each.opened_at, each.id),
    )
    for later in there[1:]:
        there[0] = _fold_into(book, there[0], later, now)
    over = book.closed_of(key)
    if there and over is not None and over.closed_at is not None:
        # Who saw it mend did not know of the older alert.
        first = there[0]
        if over.opened_at >= first.opened_at and over.closed_at >= first.last_seen_at:
            left = [each for each in first.told if each not in over.told]
            close(book, first, over.closed_at, now, rules, seen=over.seen, told=left)


def _fold_into(book: Book, first: Alert, later: Alert, now: datetime) -> Alert:
    """One alert instead of two; the messages of both are its own."""
    worst = max((first, later), key=lambda each: each.severity.rank)
    newest = max((first, later), key=lambda each: each.last_seen_at)
    merged = book.put_alert(
        replace(
            first,
            severity=worst.severity,
            severe_at=min(first.severe_at, later.severe_at),
            seen=newest.seen,
            last_seen_at=newest.last_seen_at,
            told_at=max(first.told_at, later.told_at),
            times=first.times + later.times,
            subjects=_both(first.subjects, later.subjects),
            told=_both(first.told, later.told),
            acknowledged_at=first.acknowledged_at or later.acknowledged_at,
            acknowledged_by=first.acknowledged_by or later.acknowledged_by,
            note=first.note or later.note,
            escalated_at=first.escalated_at or later.escalated_at,
            messages=first.messages + later.messages,
        )
    )
    book.put_alert(replace(later, closed_at=now, folded_into=first.id))
    for each in list(book.deliveries.values()):
        if each.alert_id == later.id:
            book.put_delivery(replace(each, alert_id=first.id))
    return merged


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return (*one, *(each for each in other if each not in one))


def outlived(changes: Changes, now: datetime) -> Changes:
    """The same without what was closed so long ago that it is kept no more."""
    gone = {
        each.id
        for each in changes.alerts
        if each.closed_at is not None and each.closed_at < now - KEPT
    }
    return replace(
        changes,
        alerts=tuple(each for each in changes.alerts if each.id not in gone),
        deliveries=tuple(
            each
            for each in changes.deliveries
            if each.alert_id not in gone and (each.state.waits or each.created_at > now - KEPT)
        ),
        notices=tuple(each for each in changes.notices if each[1] > now - NOTICES_KEPT),
    )


def fold(parts: Iterable[Changes]) -> Book:
    """All of them in one book, of which nothing is changed yet."""
    book = Book()
    for part in parts:
        merge(book, part)
    book.settle()
    return book


def _order(alert: Alert) -> tuple[int, bool, datetime, int]:
    return alert.version, not alert.open, alert.last_seen_at, alert.messages


def _far(delivery: Delivery) -> tuple[int, bool, int, bool]:
    failed = delivery.state is DeliveryState.PENDING
    return _FAR[delivery.state], delivery.reduced, delivery.attempts, failed


def _later(state: ChannelState, seen: ChannelState) -> bool:
    return state.at > seen.at
