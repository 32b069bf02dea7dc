"""How fast a channel is told things, and when one that failed is tried again."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from kb_dr.domain.alert_book import Book
from kb_dr.domain.alert_rules import Rules, take_notice
from kb_dr.domain.delivery import ChannelState
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity

DATABASE = "database"
"""No channel: how the outbox's own database fares."""
A_MINUTE = 30
"""Messages to one channel."""
FAILS_SECONDS = 600.0
"""So long a channel that does not answer is nobody's business."""

_DATABASE_SECONDS = 60.0
"""A server that is only restarted is nobody's business."""
_FIRST_SECONDS = 5.0
_DOWN_SECONDS = 300.0
_REFUSED_SECONDS = 900.0
_ASKED_SECONDS = 3600.0
_MINUTE = timedelta(seconds=60)
_OUTBOX = "outbox/database"


def may_send(state: ChannelState, now: datetime) -> bool:
    """Whether a channel may be tried now.

    A time to wait for that is farther away than any ever set was set by another clock.
    """
    due = state.next_try_at
    if due is not None and now < due <= now + timedelta(seconds=_ASKED_SECONDS):
        return False
    return len(_lately(state, now)) < A_MINUTE


def _lately(state: ChannelState, now: datetime) -> tuple[datetime, ...]:
    return tuple(each for each in state.sent if now - _MINUTE < each <= now)


def took(state: ChannelState, now: datetime) -> ChannelState:
    """A channel after it took a message, or refused this one alone."""
    return ChannelState(state.name, now, sent=(*_lately(state, now), now))


def refused_for_good(state: ChannelState, now: datetime, error: str) -> ChannelState:
    """A channel after it took one message neither whole nor reduced.

    The next one may go at once; until it takes one, nobody knows whether it takes any.
    """
    return replace(took(state, now), failing_since=now, refused=True, last_error=error)


def failed(
    state: ChannelState, now: datetime, error: str, *, chance: float,
    refused: bool = False, retry_after: float | None = None,
) -> ChannelState:  # fmt: skip
    """A channel after it failed once more. ``chance``, from 0 to 1, spreads the tries."""
    attempts = state.attempts + 1
    most = _REFUSED_SECONDS if refused else _DOWN_SECONDS
    wait = min(most, _FIRST_SECONDS * 2.0 ** min(attempts - 1, 20)) * (0.5 + chance / 2)
    if retry_after is not None:
        wait = min(max(retry_after, 1.0), _ASKED_SECONDS)
    since = state.failing_since
    return replace(
        state,
        at=now,
        failing_since=now if since is None or since > now else since,
        refused=refused,
        attempts=attempts,
        next_try_at=now + timedelta(seconds=wait),
        last_error=error,
        sent=_lately(state, now),
    )


def tell_of_channels(
    book: Book, now: datetime, rules: Rules, *, configured: Collection[str]
) -> None:
    """That a channel fails is told on the others, and that it takes messages again.

    One that is no longer configured fails no more, and was not seen to take messages either.
    """
    rules = _while_warnings_reach_nobody(book, rules)
    for state in sorted(book.channels.values(), key=lambda each: each.name):
        if state.name == DATABASE:
            continue
        key = f"channel/{state.name}"
        there = book.open_of(key)
        if state.name not in configured:
            if there is not None:
                seen = "it is not configured any more"
                notice = _of(state, key, State.MENDED, now, seen, f"{there.id}/gone")
                take_notice(book, replace(notice, gone=True), now, rules)
            continue
        since = state.failing_since
        if since is None:
            if there is not None:
                seen = "it takes messages again"
                notice = _of(state, key, State.MENDED, now, seen, f"{there.id}/mended")
                take_notice(book, notice, now, rules)
        elif state.refused or (now - since).total_seconds() >= FAILS_SECONDS:
            notice = _of(state, key, State.BROKEN, now, state.last_error, f"{since.isoformat()}")
            take_notice(book, notice, now, rules)


def _while_warnings_reach_nobody(book: Book, rules: Rules) -> Rules:
    """The same rules; while every channel told of warnings fails, those told of critical alerts
    alone are told as well: else a channel that is lost would be lost in silence."""
    warned = rules.routes.get(Severity.WARNING, ())
    states = [book.channels.get(each) for each in warned]
    if any(state is None or state.failing_since is None for state in states):
        return rules
    others = (each for each in rules.routes.get(Severity.CRITICAL, ()) if each not in warned)
    return replace(rules, routes={**rules.routes, Severity.WARNING: (*warned, *others)})


def note_outage(book: Book, now: datetime, error: str, rules: Rules) -> None:
    """That the outbox's database does not answer; told once that lasts."""
    state = book.channels.get(DATABASE)
    if state is None or state.failing_since is None or state.failing_since > now:
        book.put_channel(ChannelState(DATABASE, now, failing_since=now, last_error=error))
        return
    lasts = (now - state.failing_since).total_seconds()
    if lasts >= _DATABASE_SECONDS and book.open_of(_OUTBOX) is None:
        event = f"{_OUTBOX}/{state.failing_since.isoformat()}"
        take_notice(book, _of_database(State.BROKEN, now, error, event), now, rules)


def note_return(book: Book, now: datetime, rules: Rules) -> None:
    """That it answers again."""
    state = book.channels.get(DATABASE)
    if state is not None and state.failing_since is not None:
        book.put_channel(ChannelState(DATABASE, now))
    there = book.open_of(_OUTBOX)
    if there is not None:
        seen = "it answers again; what was recorded meanwhile has been brought in"
        notice = _of_database(State.MENDED, now, seen, f"{there.id}/mended")
        take_notice(book, notice, now, rules)


def _of_database(what: State, now: datetime, seen: str, event: str) -> Notice:
    return Notice(event, _OUTBOX, "outbox_fails", what, Severity.WARNING, now, seen)


def _of(state: ChannelState, key: str, what: State, now: datetime, seen: str, event: str) -> Notice:
    return Notice(
        id=f"{key}/{event}",
        key=key,
        kind="channel_fails",
        state=what,
        severity=Severity.WARNING,
        at=now,
        seen=seen,
        subjects=(state.name,),
    )
