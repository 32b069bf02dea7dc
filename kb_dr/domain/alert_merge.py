"""Two books of the same alerts made one, whatever order their changes come in."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_rules import Rules, close, take_notice
from kb_dr.domain.delivery import ChannelState, Delivery, DeliveryState
from kb_dr.domain.notice import Notice, State

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

    What was sent is not sent again. One condition that both opened an alert of becomes one. Which
    of two versions counts more changes says nothing where both went on by themselves: an alert
    one of them saw the end of is over, and what the other saw broken after that is a new one.
    """
    there = {each.id: each for each in changes.alerts if each.id in book.alerts}
    pairs = [(book.alerts[alert_id], other) for alert_id, other in there.items()]
    merge(book, _not_folded(book, changes))
    for mine, other in pairs:
        if mine.is_told_once or mine.folded_into:
            continue
        if mine.open != other.open:
            lasts, over = (mine, other) if mine.open else (other, mine)
            _end_once(book, lasts, over, now, rules)
        elif mine.open:
            _keep_acknowledgement(book, mine, other)
    for key in sorted({alert.key for alert in changes.alerts if not alert.is_told_once}):
        _make_one(book, key, now, rules)
    for notice in sorted(changes.mended, key=lambda each: each.at):
        take_notice(book, notice, now, rules)


def broken_again(alert_id: str) -> str:
    """What tells that an alert was seen broken after its end, as the id of a notice."""
    return f"alert/{alert_id}/broken-again"


def _not_folded(book: Book, changes: Changes) -> Changes:
    """Without messages of alerts that were made one with another: records that cannot be removed
    are brought in again, and those messages are known by the other alert now."""
    gone = {each.id for each in book.alerts.values() if each.folded_into}
    waits = [each for each in changes.deliveries if each.alert_id in gone and each.state.waits]
    kept = tuple(each for each in changes.deliveries if each not in waits)
    return replace(changes, deliveries=kept)


def _end_once(book: Book, lasts: Alert, over: Alert, now: datetime, rules: Rules) -> None:
    """One store closed it, the other went on with it."""
    if over.closed_at is None:
        return
    if book.alerts[over.id].open:
        told = [each for each in book.alerts[over.id].told if each not in over.told]
        close(
            book, book.alerts[over.id], over.closed_at, now, rules,
            seen=over.seen, by=over.closed_by, told=told,
        )  # fmt: skip
    if lasts.last_seen_at <= over.closed_at:
        return
    again = Notice(
        id=broken_again(over.id),
        key=lasts.key,
        kind=lasts.kind,
        state=State.BROKEN,
        severity=lasts.severity,
        at=lasts.last_seen_at,
        seen=lasts.seen,
        do=lasts.do,
        subjects=lasts.subjects,
        run_id=lasts.run_id,
        facts=lasts.facts,
    )
    take_notice(book, again, now, rules)


def _keep_acknowledgement(book: Book, mine: Alert, other: Alert) -> None:
    merged = book.alerts[mine.id]
    for each in (mine, other):
        since = each.acknowledged_at
        if merged.acknowledged_at is None and since is not None and since >= merged.severe_at:
            book.put_alert(
                replace(
                    merged, acknowledged_at=since, acknowledged_by=each.acknowledged_by,
                    note=each.note,
                )
            )  # fmt: skip
            return


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
