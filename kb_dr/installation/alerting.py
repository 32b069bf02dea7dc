"""Alerts: taken from notices, kept, delivered, acknowledged."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.domain.finding import Finding
from kb_dr.domain.severity import Severity
from kb_dr.errors import (
    ChannelUnavailable,
    ConfigurationError,
    KbDrError,
    OutboxUnavailable,
    RepositoryError,
)
from kb_dr.installation.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from kb_dr.domain.alert import Alert
    from kb_dr.domain.alert_book import Book
    from kb_dr.domain.alert_rules import Rules
    from kb_dr.domain.delivery import Delivery
    from kb_dr.domain.message import Message
    from kb_dr.domain.notice import Notice
    from kb_dr.operations.deliver_alerts import Delivered
    from kb_dr.operations.reach_outbox import Outboxes
    from kb_dr.operations.take_notices import Taken
    from kb_dr.ports import Channel, Repository

logger = logging.getLogger(__name__)

_SECONDS = 20.0
_UNREACHED = (
    "Is its address right, does it run, and may this machine reach it (firewall, HTTPS_PROXY)?"
)


class Alerting(Places):
    """Who is told what of this installation."""

    def take(self, notices: Sequence[Notice]) -> Taken:
        """Open, fold and close alerts; what is to be said of them waits for deliver().

        The same notice again changes nothing. No trouble with where alerts are kept is raised:
        the database, records beside the backups, this machine, memory, in this order.
        """
        from kb_dr.operations.take_notices import take_notices

        return take_notices(self._outboxes, notices)

    def deliver(self, *, seconds: float) -> Delivered:
        """Send what is due, beginning nothing more after so many seconds.

        A channel that is down delays only itself. While another process delivers it does nothing.
        """
        from kb_dr.operations.deliver_alerts import deliver_alerts

        return deliver_alerts(self._outboxes, self.channels, seconds=seconds)

    def alerts(self, *, all: bool = False) -> tuple[Alert, ...]:  # noqa: A002 - as `--all` has it
        """Those that are open, oldest first; with ``all`` every one that is kept.

        Raises OutboxUnavailable when nobody can tell: the database does not answer, and nothing
        is recorded here.
        """
        return self._outboxes.use(
            lambda session: session.alerts(closed=all), seconds=_SECONDS, notes=False
        )[0]

    def alert(self, alert_id: str) -> tuple[Alert, tuple[Delivery, ...]]:
        """One alert, and what became of each of its messages."""
        found = [each for each in self.alerts(all=True) if each.id == alert_id]
        if not found:
            raise _no_alert(alert_id)
        return found[0], self._outboxes.use(
            lambda session: session.deliveries(alert_id), seconds=_SECONDS, notes=False
        )[0]

    def undelivered(self) -> tuple[Delivery, ...]:
        """Messages that wait, and those no try will bring to their channel."""
        return self._outboxes.use(lambda session: session.unsent(), seconds=_SECONDS, notes=False)[
            0
        ]

    def acknowledge(self, ids: Collection[str], *, by: str, note: str = "") -> tuple[Alert, ...]:
        """Somebody takes care of these: they are escalated no more, and reminded of daily.

        Raises ConfigurationError, and changes nothing, when one of them is not open.
        """
        from kb_dr.domain.alert_upkeep import acknowledge

        now = self.clock.now()

        def one(book: Book, alert: Alert) -> None:
            acknowledge(book, alert, now, self.alert_rules, by=by, note=note)

        return self._each_open(ids, one)

    def close_alerts(self, ids: Collection[str], *, by: str) -> tuple[Alert, ...]:
        """End alerts that nothing will mend, such as those of a job that is no more.

        What breaks again opens a new one. Raises as acknowledge() does.
        """
        from kb_dr.domain.alert_upkeep import close_by_hand

        now = self.clock.now()

        def one(book: Book, alert: Alert) -> None:
            close_by_hand(book, alert, now, self.alert_rules, by=by)

        return self._each_open(ids, one)

    def check_channels(self) -> tuple[Finding, ...]:
        """Each channel, tried as far as that goes without telling anybody anything."""
        from kb_dr.domain.alert_routes import judge_routes
        from kb_dr.domain.proof import Outcome
        from kb_dr.operations.run_parallel import run_parallel

        def look(channel: Channel) -> Finding:
            return _tried(f"alerts by {channel.name}", channel.check)

        found = run_parallel(self.channels, look, at_once=6)
        if not found:
            hint = "Nobody is told of anything: set KB_DR_SLACK_WEBHOOK_URL or another channel."
            found = [Finding("alert channels", Outcome.NOT_APPLICABLE, "none is configured", hint)]
        else:
            found.append(judge_routes(self.settings.alerting.routes))
        if self._outboxes.database is not None:
            found.append(self._check_outbox())
        return tuple(found)

    def test_channels(self, names: Collection[str] = ()) -> tuple[Finding, ...]:
        """Send a test to each channel (of these), at once and past the outbox."""
        from kb_dr.operations.run_parallel import run_parallel

        unknown = sorted(set(names) - {each.name for each in self.channels})
        if unknown:
            known = ", ".join(each.name for each in self.channels) or "none"
            raise ConfigurationError(
                f"test channel {unknown[0]!r}: it is not configured, expected one of: {known}"
            )
        message = self._test_message()
        chosen = [each for each in self.channels if not names or each.name in names]

        def send(channel: Channel) -> Finding:
            own = replace(message, id=f"{message.id}-{channel.name}")

            def told() -> str:
                reference = channel.send(own, tried_since=None)
                return f"taken as {reference}" if reference else "taken"

            return _tried(channel.name, told)

        return tuple(run_parallel(chosen, send, at_once=6))

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """The channels configured."""
        return wiring.channels(self.settings)

    @cached_property
    def alert_rules(self) -> Rules:
        """Who is told what, as the settings have it."""
        from kb_dr.domain.alert_message import Links
        from kb_dr.domain.alert_rules import Rules

        alerting = self.settings.alerting
        return Rules(
            links=Links(self.settings.service, alerting.pages_url, alerting.documents_url),
            routes=alerting.routes,
            singly=frozenset(each.name for each in self.channels if not each.groups),
            escalate_seconds=alerting.escalate_seconds,
            warning_seconds=alerting.warning_seconds,
            remind_seconds=alerting.remind_seconds,
            successes=alerting.successes,
        )

    @cached_property
    def _outboxes(self) -> Outboxes:
        from kb_dr.operations.reach_outbox import Outboxes

        return Outboxes(
            database=wiring.outbox(self.settings),
            records=wiring.alert_records(self.settings, self.clock, self._record_places),
            clock=self.clock,
            rules=self.alert_rules,
        )

    def _record_places(self) -> list[Repository]:
        """Every repository that is ours and answers soon."""
        found: list[Repository] = []
        for copy in self.copies:
            repository = self._hasty(copy)
            try:
                self._check(repository)
            except RepositoryError as error:
                logger.warning("alerts are not recorded in %s: %s", copy, error)
            else:
                found.append(repository)
        return found

    def _hasty(self, copy: str) -> Repository:
        return wiring.hasty_repository(self.settings, copy)

    def _each_open(
        self, ids: Collection[str], one: Callable[[Book, Alert], None]
    ) -> tuple[Alert, ...]:
        wanted = tuple(dict.fromkeys(ids))

        def decide(book: Book) -> None:
            for alert_id in wanted:
                alert = book.alerts.get(alert_id)
                if alert is None or not alert.open:
                    raise _no_alert(alert_id, open_="open ")
            for alert_id in wanted:
                one(book, book.alerts[alert_id])

        book, _ = self._outboxes.use(
            lambda session: session.change(decide, alerts=wanted), seconds=_SECONDS
        )
        return tuple(book.alerts[each] for each in wanted)

    def _check_outbox(self) -> Finding:
        def look() -> str:
            database = self._outboxes.database
            if database is None:
                raise OutboxUnavailable("open the alerts: no database is configured")
            with database.opened(seconds=_SECONDS) as session:
                lasting, unsent = session.alerts(closed=False), session.unsent()
            waiting = sum(each.state.waits for each in unsent)
            return (
                f"{database.url}: {len(lasting)} open, {waiting} messages wait, "
                f"{len(unsent) - waiting} were refused"
            )

        return _tried("alert outbox", look)

    def _test_message(self) -> Message:
        from kb_dr.domain.alert_message import describe
        from kb_dr.domain.message import Message, What
        from kb_dr.domain.notice import Notice, State

        now = self.clock.now()
        seen = f"kb-dr alerts test, by {self.settings.service}: nothing is the matter."
        notice = Notice("", "test", "channel_test", State.TOLD, Severity.INFO, now, seen)
        links = self.alert_rules.links
        return Message(
            id=f"test-{now:%Y%m%d-%H%M%S-%f}",
            dedup_key=f"test/{self.settings.service}",
            what=What.TOLD,
            kind="channel_test",
            severity=Severity.INFO,
            service=self.settings.service,
            title=describe(notice)[0],
            happened=seen,
            means="",
            do="",
            at=now,
            runbook_url=links.runbook("channel_test"),
        )


def _no_alert(alert_id: str, open_: str = "") -> ConfigurationError:
    return ConfigurationError(
        f"find alert {alert_id!r}: no {open_}alert has this id",
        hint="`kb-dr alerts list` shows those that are open, with `--all` every one.",
    )


def _tried(subject: str, look: Callable[[], str]) -> Finding:
    from kb_dr.domain.proof import Outcome

    try:
        return Finding(subject, Outcome.PASSED, look())
    except KbDrError as error:
        outcome = Outcome.COULD_NOT_RUN if error.retryable else Outcome.FAILED
        # That an alert is tried again helps nobody who is trying out a channel.
        hint = _UNREACHED if error.hint == ChannelUnavailable.default_hint else error.hint
        return Finding(subject, outcome, str(error), hint)
