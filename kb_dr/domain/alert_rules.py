"""What becomes of a notice: which alert it opens, worsens or closes, and who is told."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book
from kb_dr.domain.alert_message import NOBODY_KNOWS, Links, describe, render
from kb_dr.domain.delivery import Delivery
from kb_dr.domain.message import What
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity
from kb_dr.scrub import scrub

NOT_WATCHED = "kb-dr"
"""Who closes what is not looked at any more: that it is well nobody saw."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is told what, and when again."""

    links: Links
    routes: Mapping[Severity, tuple[str, ...]]
    """Severity to the channels told of it."""
    singly: frozenset[str] = frozenset()
    """The channels where each alert is opened and closed by itself."""
    escalate_seconds: float = 900.0
    warning_seconds: float = 86400.0
    remind_seconds: float = 86400.0
    successes: bool = False

    def told(self, severity: Severity, key: str) -> tuple[str, ...]:
        """The channels told of this; never that a channel fails by that channel itself."""
        itself = key.removeprefix("channel/") if key.startswith("channel/") else ""
        return tuple(each for each in self.routes.get(severity, ()) if each != itself)


def take_notice(book: Book, notice: Notice, now: datetime, rules: Rules) -> str:
    """Bring the book in line with one notice; what it came to, in a word.

    ``known``, ``stale``, ``opened``, ``folded``, ``worse``, ``closed``, ``told``, ``nothing``.
    Taken again it changes nothing. A notice from the future is taken as of now.
    """
    notice = _storable(notice, now)
    if notice.id in book.notices:
        return "known"
    if notice.state is State.TOLD:
        if notice.kind == "run_succeeded" and not rules.successes:
            return "nothing"
        book.put_notice(notice.id, now)
        alert = replace(_opened(notice, now), closed_at=notice.at, is_told_once=True)
        if alert.id not in book.alerts:
            tell(book, alert, What.TOLD, rules.told(alert.severity, alert.key), now, rules)
        return "told"
    there = book.open_of(notice.key)
    before = there or book.closed_of(notice.key)
    stale = before is not None and notice.at < before.last_seen_at <= now
    if notice.state is State.MENDED:
        if there is None and book.partial:
            book.put_mended(notice)
        if there is None or stale:
            return "stale" if stale else "nothing"
        book.put_notice(notice.id, now)
        by = NOT_WATCHED if notice.gone else ""
        close(book, there, notice.at, now, rules, seen=notice.seen, by=by)
        return "closed"
    if there is None:
        if stale:
            return "stale"
        book.put_notice(notice.id, now)
        alert = _opened(notice, now)
        if alert.id in book.alerts:
            return "known"
        tell(book, alert, What.OPENED, rules.told(alert.severity, alert.key), now, rules)
        return "opened"
    book.put_notice(notice.id, now)
    if stale:
        book.put_alert(replace(there, times=there.times + 1))
        return "folded"
    return _fold(book, there, notice, now, rules)


def _storable(notice: Notice, now: datetime) -> Notice:
    """The notice as any store can keep it, not from the future, and without what is secret.

    Nobody knows where its words are from: an error of a library, a check's, a run's. Names of
    conditions are ours; struck out of them, a password that is a word would part what belongs
    together.
    """

    def said(text: str) -> str:
        return scrub(plain(text))

    def plain(text: str) -> str:
        return text.encode("utf-8", "replace").decode().replace("\0", "")

    return replace(
        notice,
        id=plain(notice.id),
        key=plain(notice.key),
        at=min(notice.at, now),
        seen=said(notice.seen),
        do=said(notice.do),
        subjects=tuple(said(each) for each in notice.subjects),
        facts=tuple((said(label), said(value)) for label, value in notice.facts),
    )


def _opened(notice: Notice, now: datetime) -> Alert:
    title, means, do = describe(notice)
    digest = hashlib.sha256(f"{notice.key}\n{notice.id}".encode()).hexdigest()
    return Alert(
        id=digest[:10],
        key=notice.key,
        kind=notice.kind,
        severity=notice.severity,
        title=title,
        seen=notice.seen,
        means=means,
        do=do,
        opened_at=notice.at,
        last_seen_at=notice.at,
        severe_at=now,
        told_at=now,
        subjects=notice.subjects,
        run_id=notice.run_id,
        facts=notice.facts,
    )


def _fold(book: Book, there: Alert, notice: Notice, now: datetime, rules: Rules) -> str:
    """The same condition again: said only if it is worse, more of it is broken, or what nobody
    could tell is known to be broken."""
    rises = notice.severity.rank > there.severity.rank
    new = [each for each in notice.subjects if each not in there.subjects]
    alert = replace(
        there,
        times=there.times + 1,
        seen=notice.seen,
        last_seen_at=max(notice.at, min(there.last_seen_at, now)),
        subjects=(*there.subjects, *new),
        run_id=notice.run_id or there.run_id,
        facts=notice.facts or there.facts,
    )
    doubted = there.title.startswith(NOBODY_KNOWS)
    # Once it was known to be broken, that nobody can look any more is no better news.
    unsure = notice.unsure and doubted
    title, means, do = describe(replace(notice, subjects=alert.subjects, unsure=unsure))
    alert = replace(alert, title=title, means=means, do=do)
    if not rises and not new and not (doubted and not notice.unsure):
        book.put_alert(alert)
        return "folded"
    tell_worse(book, alert, notice.severity if rises else alert.severity, now, rules)
    return "worse"


def tell_worse(book: Book, alert: Alert, severity: Severity, now: datetime, rules: Rules) -> None:
    """Say that it is worse, to who was told and to who is told of this severity.

    Whoever acknowledged the lesser thing has not acknowledged this one.
    """
    if severity is not alert.severity:
        alert = replace(
            alert, severity=severity, severe_at=now, escalated_at=None,
            acknowledged_at=None, acknowledged_by="", note="",
        )  # fmt: skip
    told = rules.told(alert.severity, alert.key)
    everyone = (*told, *(each for each in alert.told if each not in told))
    tell(book, alert, What.WORSE, everyone, now, rules)


def close(
    book: Book, alert: Alert, at: datetime, now: datetime, rules: Rules,
    *, seen: str = "", by: str = "", told: Iterable[str] | None = None,
) -> None:  # fmt: skip
    """End an alert, and say so to all who were told that it is open (or to ``told`` alone)."""
    at = max(at, min(alert.opened_at, now))
    alert = replace(alert, closed_at=at, closed_by=by, seen=seen, last_seen_at=at)
    tell(book, alert, What.RECOVERED, alert.told if told is None else told, now, rules)


OPENING = (What.OPENED, What.WORSE, What.ESCALATED, What.REMINDER)
"""Any of them is the first word of an alert to a channel that had none."""


def tell(
    book: Book, alert: Alert, what: What, channels: Iterable[str], now: datetime, rules: Rules
) -> Alert:
    """Put the alert into the book, with one message to each of these channels."""
    to = tuple(channels)
    number = alert.messages + 1
    at = alert.closed_at or (now if what is not What.OPENED else alert.opened_at)
    message = render(alert, what, at, number, rules.links)
    told = alert.told
    if what in OPENING:
        told = (*told, *(each for each in to if each not in told))
    if what is not What.ACKNOWLEDGED:
        alert = replace(alert, told_at=now)
    alert = book.put_alert(replace(alert, messages=number, told=told))
    for channel in to:
        book.put_delivery(
            Delivery(
                id=f"{message.id}-{channel}",
                alert_id=alert.id,
                channel=channel,
                what=what,
                sequence=book.next_sequence(now),
                message=message,
                created_at=now,
            )
        )
    return alert
