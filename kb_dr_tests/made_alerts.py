"""Notices as a test needs them, and an outbox in memory that can be cut off."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from kb_dr.adapters.records_outbox import RecordsOutbox
from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_merge import merge, outlived
from kb_dr.domain.alert_message import Links
from kb_dr.domain.alert_rules import Rules
from kb_dr.domain.delivery import Delivery, DeliveryState
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity
from kb_dr.errors import OutboxUnavailable
from kb_dr.operations.deliver_alerts import Delivered, deliver_alerts
from kb_dr.operations.reach_outbox import Outboxes
from kb_dr.operations.take_notices import Taken, take_notices
from kb_dr.ports import Channel, Outbox, Repository
from kb_dr_tests.fake_channels import FakeChannel
from kb_dr_tests.fakes import FakeClock

START = datetime.fromisoformat("2026-11-20T02:00:00+00:00")
RPO = "check/recovery/point/rpo_holds"


def notice(
    key: str = RPO,
    state: State = State.BROKEN,
    *,
    at: float = 0,
    severity: Severity = Severity.CRITICAL,
    kind: str = "rpo_holds",
    event: str = "",
    subjects: tuple[str, ...] = (),
    seen: str = "offsite: 2 h behind",
) -> Notice:
    """A notice ``at`` seconds after START."""
    return Notice(
        id=event or f"{key}/{state}/{at}",
        key=key,
        kind=kind,
        state=state,
        severity=severity,
        at=START + timedelta(seconds=at),
        seen=seen,
        subjects=subjects,
    )


def failed_run(number: int, *, at: float = 0, severity: Severity = Severity.CRITICAL) -> Notice:
    """A run of a job of its own that failed."""
    return notice(f"run/job_{number:03d}", at=at, kind="run_failed", severity=severity)


def rules_of(*channels: str, singly: Collection[str] = (), successes: bool = False) -> Rules:
    """All channels are told everything."""
    return Rules(
        links=Links("kb", "https://dagster.example", "https://docs.example"),
        routes=dict.fromkeys(Severity, channels),
        singly=frozenset(singly),
        successes=successes,
    )


class MemoryOutbox:
    """A `kb_dr.ports.Outbox` in memory. ``down`` and ``fails_at`` take it away."""

    def __init__(self, url: str = "memory://outbox") -> None:
        self.url = url
        self.book = Book()
        self.down = False
        self.fails_at: int | None = None
        """The write, counted from 0, from which on it is away."""
        self.writes = 0
        self.worker: object | None = None

    @contextmanager
    def opened(self, *, seconds: float) -> Iterator["MemorySession"]:
        self.ask()
        session = MemorySession(self)
        try:
            yield session
        finally:
            if self.worker is session:
                self.worker = None

    def ask(self) -> None:
        if self.down:
            raise OutboxUnavailable("keep the alerts: the server does not answer")

    def write(self) -> None:
        self.ask()
        if self.fails_at is not None and self.writes >= self.fails_at:
            self.down = True
            self.ask()
        self.writes += 1


class MemorySession:
    """A `kb_dr.ports.OutboxSession` in memory."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self._outbox = outbox

    def claim_delivery(self) -> bool:
        self._outbox.ask()
        if self._outbox.worker is None:
            self._outbox.worker = self
        return self._outbox.worker is self

    def change(
        self,
        decide: Callable[[Book], None],
        *,
        keys: Collection[str] = (),
        notices: Collection[str] = (),
        alerts: Collection[str] = (),
    ) -> Book:
        self._outbox.write()
        book = _copied(self._outbox.book)
        decide(book)
        self._outbox.book = _copied(book)
        return book

    def keep(self, changes: Changes) -> None:
        self._outbox.write()
        for each in changes.deliveries:
            self._outbox.book.put_delivery(each)
        for state in changes.channels:
            self._outbox.book.put_channel(state)
        self._outbox.book.settle()

    def alerts(self, *, closed: bool) -> tuple[Alert, ...]:
        self._outbox.ask()
        found = [each for each in self._outbox.book.alerts.values() if each.open or closed]
        return tuple(sorted(found, key=lambda each: (each.opened_at, each.id)))

    def deliveries(self, alert_id: str) -> tuple[Delivery, ...]:
        return self._those(lambda each: each.alert_id == alert_id)

    def unsent(self) -> tuple[Delivery, ...]:
        return self._those(lambda each: each.state.waits or each.state is DeliveryState.DEAD)

    def forget(self, *, now: datetime, most: int) -> int:
        self._outbox.ask()
        whole = self._outbox.book.whole()
        kept = Book()
        merge(kept, outlived(whole, now))
        kept.settle()
        kept.last_sequence = self._outbox.book.last_sequence
        done = len(whole.alerts) - len(kept.alerts)
        self._outbox.book = kept
        return done

    def _those(self, wanted: Callable[[Delivery], bool]) -> tuple[Delivery, ...]:
        self._outbox.ask()
        found = [each for each in self._outbox.book.deliveries.values() if wanted(each)]
        return tuple(sorted(found, key=lambda each: (each.sequence, each.id)))


def _copied(book: Book) -> Book:
    """Its values never change."""
    return Book(
        dict(book.alerts),
        dict(book.deliveries),
        dict(book.channels),
        dict(book.notices),
        last_sequence=book.last_sequence,
    )


class AlertSite:
    """Outboxes, channels and a clock, wired as an installation wires them."""

    def __init__(
        self,
        directory: Path,
        *channels: Channel,
        database: Outbox | None = None,
        places: Sequence[Repository] = (),
        rules: Rules | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock(START)
        self.channels = channels
        self.directory = directory
        self.database = database
        self.places = list(places)
        names = [each.name for each in channels]
        singly = [each.name for each in channels if not each.groups]
        self.rules = rules or rules_of(*names, singly=singly)

    @property
    def outboxes(self) -> Outboxes:
        """New handles each time, as another process would have them."""
        records = RecordsOutbox(self.directory / "alerts", lambda: self.places, self.clock)
        return Outboxes(self.database, records, self.clock, self.rules)

    def take(self, *notices: Notice) -> Taken:
        return take_notices(self.outboxes, notices)

    def deliver(self, *, seconds: float = 10.0, patience_seconds: float = 5.0) -> Delivered:
        return deliver_alerts(
            self.outboxes,
            self.channels,
            seconds=seconds,
            patience_seconds=patience_seconds,
            chance=lambda: 1.0,
        )

    def alerts(self, *, closed: bool = True) -> tuple[Alert, ...]:
        return self.outboxes.use(
            lambda session: session.alerts(closed=closed), seconds=10, notes=False
        )[0]

    def unsent(self) -> tuple[Delivery, ...]:
        return self.outboxes.use(lambda session: session.unsent(), seconds=10, notes=False)[0]

    def pass_time(self, **span: float) -> None:
        self.clock.pass_time(timedelta(**span))


def titles(channel: FakeChannel) -> list[str]:
    """The last word of each title a channel was told."""
    return [title.rpartition(" ")[2] for _, title in channel.said]


def deliver_for(site: AlertSite, *, minutes: int) -> None:
    """A round each half minute."""
    for _ in range(minutes * 2):
        site.deliver()
        site.pass_time(seconds=30)
