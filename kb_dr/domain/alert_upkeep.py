"""What becomes of an alert that lasts: louder, again, acknowledged, closed by hand."""

from dataclasses import replace
from datetime import datetime

from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book
from kb_dr.domain.alert_message import group
from kb_dr.domain.alert_rules import OPENING, Rules, close, tell, tell_worse
from kb_dr.domain.delivery import Delivery, DeliveryState
from kb_dr.domain.message import What
from kb_dr.domain.severity import Severity
from kb_dr.scrub import scrub

MANY = 20
"""Alerts that wait for one channel; more of them come as a group."""


def look_after(book: Book, now: datetime, rules: Rules) -> None:
    """Whatever time alone brings about: escalations and reminders."""
    for alert in sorted(book.alerts.values(), key=lambda each: (each.opened_at, each.id)):
        if alert.open:
            _look_after(book, _grounded(book, alert, now), now, rules)


def _grounded(book: Book, alert: Alert, now: datetime) -> Alert:
    """What is said to happen in the future was written by a clock that has been set back since:
    it counts from now, so that nothing is put off by more than its own period."""
    if max(alert.opened_at, alert.severe_at, alert.told_at, alert.last_seen_at) <= now:
        return alert
    return book.put_alert(
        replace(
            alert,
            opened_at=min(alert.opened_at, now),
            severe_at=min(alert.severe_at, now),
            told_at=min(alert.told_at, now),
            last_seen_at=min(alert.last_seen_at, now),
        )
    )


def _look_after(book: Book, alert: Alert, now: datetime, rules: Rules) -> None:
    lasts = (now - alert.severe_at).total_seconds()
    quiet = alert.acknowledged_at is None
    if quiet and alert.severity is Severity.WARNING and lasts >= rules.warning_seconds:
        tell_worse(book, alert, Severity.CRITICAL, now, rules)
        return
    if (
        quiet
        and alert.severity is Severity.CRITICAL
        and alert.escalated_at is None
        and lasts >= rules.escalate_seconds
    ):
        to = _who_heard(book, alert, rules.told(Severity.CRITICAL, alert.key))
        tell(book, replace(alert, escalated_at=now), What.ESCALATED, to, now, rules)
        return
    if (now - alert.told_at).total_seconds() >= rules.remind_seconds:
        # Also whoever is told of such a thing by now, and was no channel yet when it opened.
        told = rules.told(alert.severity, alert.key)
        everyone = (*alert.told, *(each for each in told if each not in alert.told))
        tell(book, alert, What.REMINDER, _who_heard(book, alert, everyone), now, rules)


def _who_heard(book: Book, alert: Alert, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Those where nothing of this alert waits: what does will tell them soon enough."""
    waiting = {
        each.channel
        for each in book.deliveries.values()
        if each.alert_id == alert.id and each.state.waits
    }
    return tuple(each for each in channels if each not in waiting)


def acknowledge(
    book: Book, alert: Alert, now: datetime, rules: Rules, *, by: str, note: str
) -> Alert:
    """Somebody takes care of it: reminded of daily all the same, and never escalated."""
    alert = replace(alert, acknowledged_at=now, acknowledged_by=by, note=scrub(note))
    to = tuple(each for each in alert.told if each in rules.singly)
    return tell(book, alert, What.ACKNOWLEDGED, to, now, rules)


def close_by_hand(book: Book, alert: Alert, now: datetime, rules: Rules, *, by: str) -> None:
    """For what will never mend by itself, such as a job that is no more."""
    close(book, alert, now, now, rules, by=by, seen=alert.seen)


def group_waiting(book: Book, channel: str, now: datetime, rules: Rules) -> None:
    """Put what waits for a channel into a few messages, when it is of more than MANY alerts.

    What was tried before goes as it is: it may have arrived.
    """
    fresh = [
        each
        for each in book.waiting(channel)
        if each.first_tried_at is None and each.what is not What.GROUPED
    ]
    if channel in rules.singly or len({each.alert_id for each in fresh}) <= MANY:
        return
    number = f"{fresh[0].sequence}"
    pages = group(fresh, now, rules.links, number)
    for page, message in enumerate(pages):
        book.put_delivery(
            Delivery(
                id=f"{message.id}-{channel}",
                alert_id="",
                channel=channel,
                what=What.GROUPED,
                sequence=fresh[min(page, len(fresh) - 1)].sequence,
                message=message,
                created_at=now,
            )
        )
    for each in fresh:
        state = DeliveryState.GROUPED
        book.put_delivery(
            replace(each, state=state, finished_at=now, grouped_in=f"{pages[0].id}-{channel}")
        )


def never_told(book: Book, dead: Delivery) -> None:
    """A channel that got no word of an alert gets none of its end either."""
    alert = book.alerts.get(dead.alert_id)
    if alert is None or dead.what not in OPENING or dead.channel not in alert.told:
        return
    others = (
        each
        for each in book.deliveries.values()
        if each.alert_id == alert.id and each.channel == dead.channel and each.what in OPENING
    )
    if all(each.state is DeliveryState.DEAD for each in others):
        told = tuple(each for each in alert.told if each != dead.channel)
        book.put_alert(replace(alert, told=told))


def in_order(book: Book, channel: str) -> list[Delivery]:
    """What waits for a channel, in the order it is sent.

    Where each alert is opened and closed by itself, and very many wait, the critical ones go
    first; of one condition the order stays, for there the end of one alert would end the next.
    """
    waiting = book.waiting(channel)
    if len({each.alert_id for each in waiting}) <= MANY:
        return waiting
    worst: dict[str, int] = {}
    for each in waiting:
        key, rank = each.message.dedup_key, each.message.severity.rank
        worst[key] = max(rank, worst.get(key, 0))
    return sorted(waiting, key=lambda each: -worst[each.message.dedup_key])
