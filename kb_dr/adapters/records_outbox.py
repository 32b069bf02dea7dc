"""The outbox of last resort: small records in the repositories and on this machine.

Each step is one record; the book is all records added up, in whatever order. On this machine
first, which takes no time, then in each repository that answers; what can be kept nowhere is kept
in memory, and alerts go out all the same.
"""

import fcntl
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kb_dr import records
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.domain import layout
from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_merge import fold, merge, outlived
from kb_dr.domain.alert_record import AlertRecord
from kb_dr.domain.delivery import Delivery, DeliveryState
from kb_dr.errors import ObjectMissing, RepositoryError, UnreadableRecord
from kb_dr.ports import Clock, Repository

logger = logging.getLogger(__name__)

MOST_RECORDS = 200
"""More of them are added up into one."""
_LOCK_TRIES, _LOCK_SECONDS = 200, 0.05
_MIRROR_SECONDS = 3600.0
"""An older mirror may be of a machine that has not delivered anything for weeks."""

_READ: dict[tuple[str, str], Changes] = {}
"""What this process has read: a record never changes."""
_UNKEPT: dict[str, list[Changes]] = {}
"""What could be kept nowhere, by directory."""
_ALONE = threading.RLock()


class RecordsOutbox:
    """Implements `kb_dr.ports.AlertRecords`.

    ``places`` opens the repositories, one that does not answer left out; it is asked at most once.
    """

    def __init__(
        self, directory: Path, places: Callable[[], Sequence[Repository]], clock: Clock
    ) -> None:
        self._directory = directory
        self._open_places = places
        self._clock = clock
        self._own = DirectoryRepository(directory, "this machine")
        self._places: list[Repository] | None = None
        self._made = False
        self._unkept_read = 0

    @property
    def url(self) -> str:
        return str(self._directory)

    @contextmanager
    def opened(self, *, seconds: float) -> Iterator["RecordsSession"]:
        session = RecordsSession(self)
        try:
            yield session
        finally:
            session.end()

    def here(self) -> bool:
        with _ALONE:
            if _UNKEPT.get(self.url):
                return True
        with suppress(RepositoryError):
            return next(self._own.list(layout.ALERTS), None) is not None
        return False

    def knows(self) -> bool:
        return self._mirror() is not None or self.here()

    def left(self) -> tuple[Changes, tuple[str, ...]]:
        parts, names = self._read_all()
        if not parts:
            return Changes(), ()
        return outlived(fold(parts).whole(), self._clock.now()), names

    def discard(self, names: Collection[str]) -> None:
        with _ALONE:
            del _UNKEPT.get(self.url, [])[: self._unkept_read]
        for name in names:
            for place in self._everywhere():
                _READ.pop((place.url, name), None)
        for place in self._everywhere():
            for name in sorted(names):
                try:
                    place.delete(name)
                except RepositoryError as error:
                    # Retained, or out of reach: read again, it changes nothing.
                    logger.debug("%s stays in %s: %s", name, place.name, error)
                    break

    def keep_mirror(self, book: Book) -> None:
        record = self._record(book.whole())
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = self._directory / f".mirror-{secrets.token_hex(4)}"
            beside.write_bytes(records.to_json(record))
            beside.replace(self._directory / "mirror.json")
        except OSError as error:
            logger.debug("the alerts are not mirrored in %s: %s", self._directory, error)

    def book(self) -> Book:
        """All that is recorded, and what the database held an hour ago at most."""
        parts, _ = self._read_all()
        book = fold(outlived(each, self._clock.now()) for each in parts)
        if (mirrored := self._mirror()) is not None:
            # Into the first record, so that nothing rests on the mirror afterwards.
            merge(book, mirrored)
        book.partial = True
        return book

    def keep(self, changes: Changes) -> None:
        """Keep one step wherever that can be done; it never fails."""
        if not changes:
            return
        record = self._record(changes)
        key = layout.alert_record_key(record.id)
        body = records.to_json(record)
        kept = 0
        for place in self._everywhere():
            try:
                place.put(key, body)
                _READ[place.url, key] = changes
                kept += 1
            except RepositoryError as error:
                logger.warning("an alert's record is not kept in %s: %s", place.name, error)
                self._leave_out(place)
        if kept == 0:
            logger.warning("an alert's record could be kept nowhere; it goes out all the same")
            with _ALONE:
                _UNKEPT.setdefault(self.url, []).append(changes)

    def add_up(self) -> None:
        """Put many records into one, and remove them; a kill in between changes nothing."""
        parts, names = self._read_all()
        if len(names) <= MOST_RECORDS:
            return
        whole = outlived(fold(parts).whole(), self._clock.now())
        record = self._record(whole)
        body, key = records.to_json(record), layout.alert_record_key(record.id)
        for place in self._everywhere():
            try:
                place.put(key, body)
            except RepositoryError as error:
                logger.debug("records of alerts are not added up in %s: %s", place.name, error)
                return
        self.discard(names)

    def locked(self, name: str, *, wait: bool) -> int | None:
        """A lock on this machine, to be closed; None when another process has it.

        Where no file can be written there is no lock, and one that is never given back is waited
        for some seconds: alerts that come twice are better than none.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(
                self._directory / f".{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            logger.debug("alerts are not locked in %s: %s", self._directory, error)
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for _ in range(_LOCK_TRIES if wait else 1):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if wait:
                    self._clock.sleep(_LOCK_SECONDS)
            else:
                return handle
        if wait:
            logger.warning("the alerts' lock in %s is not given back", self._directory)
            return handle
        os.close(handle)
        return None

    def _read_all(self) -> tuple[list[Changes], tuple[str, ...]]:
        """Every record of every place that answers, each name once."""
        found: dict[str, Changes] = {}
        for place in self._everywhere():
            try:
                for listed in place.list(layout.ALERTS):
                    if listed.key not in found:
                        self._read_into(found, place, listed.key)
            except RepositoryError as error:
                logger.warning("no records of alerts are read from %s: %s", place.name, error)
                self._leave_out(place)
        with _ALONE:
            unkept = list(_UNKEPT.get(self.url, ()))
            self._unkept_read = len(unkept)
        return [*(found[key] for key in sorted(found)), *unkept], tuple(sorted(found))

    def _read_into(self, found: dict[str, Changes], place: Repository, key: str) -> None:
        try:
            found[key] = _read(place, key)
        except ObjectMissing:
            pass  # removed since it was listed: what it said stands elsewhere
        except UnreadableRecord as error:
            logger.warning("an alert's record is passed over: %s", error)

    def _everywhere(self) -> list[Repository]:
        if self._places is None:
            self._places = [self._own, *self._open_places()]
        if not self._made:
            self._made = True
            with suppress(RepositoryError):  # told when something is to be kept there
                self._own.create()
        return list(self._places)

    def _leave_out(self, place: Repository) -> None:
        """Not asked again by this one: each try may take its whole deadline."""
        self._places = [each for each in self._places or () if each is not place]

    def _record(self, changes: Changes) -> AlertRecord:
        now = self._clock.now().astimezone(UTC)
        name = f"{now:%Y%m%d-%H%M%S}-{now:%f}-{secrets.token_hex(4)}"
        return AlertRecord(records.SCHEMA_VERSION, name, now, socket.gethostname(), changes)

    def _mirror(self) -> Changes | None:
        try:
            body = (self._directory / "mirror.json").read_bytes()
            record = records.from_json(AlertRecord, body, what="the mirror of the alerts")
        except (OSError, UnreadableRecord) as error:
            logger.debug("no mirror of the alerts: %s", error)
            return None
        if abs(self._clock.now() - record.at) > timedelta(seconds=_MIRROR_SECONDS):
            return None
        return record.changes


def _read(place: Repository, key: str) -> Changes:
    known = _READ.get((place.url, key))
    if known is None:
        body = place.read(key)
        known = records.from_json(AlertRecord, body, what=f"{key} of {place.name}").changes
        _READ[place.url, key] = known
    return known


class RecordsSession:
    """Implements `kb_dr.ports.OutboxSession`."""

    def __init__(self, outbox: RecordsOutbox) -> None:
        self._outbox = outbox
        self._delivery: int | None = None

    def claim_delivery(self) -> bool:
        if self._delivery is None:
            self._delivery = self._outbox.locked("delivery", wait=False)
        return self._delivery is not None

    def change(
        self,
        decide: Callable[[Book], None],
        *,
        keys: Collection[str] = (),
        notices: Collection[str] = (),
        alerts: Collection[str] = (),
    ) -> Book:
        with _ALONE:
            handle = self._outbox.locked("book", wait=True)
            try:
                book = self._outbox.book()
                decide(book)
                self._outbox.keep(book.changes())
            finally:
                if handle is not None:
                    os.close(handle)
        return book

    def keep(self, changes: Changes) -> None:
        with _ALONE:
            self._outbox.keep(changes)

    def alerts(self, *, closed: bool) -> tuple[Alert, ...]:
        found = self._outbox.book().alerts.values()
        wanted = [each for each in found if each.open or closed]
        return tuple(sorted(wanted, key=lambda each: (each.opened_at, each.id)))

    def deliveries(self, alert_id: str) -> tuple[Delivery, ...]:
        return self._deliveries(lambda each: each.alert_id == alert_id)

    def unsent(self) -> tuple[Delivery, ...]:
        return self._deliveries(lambda each: each.state.waits or each.state is DeliveryState.DEAD)

    def forget(self, *, now: datetime, most: int) -> int:
        with _ALONE:
            self._outbox.add_up()
        return 0

    def end(self) -> None:
        """Let another one deliver."""
        if self._delivery is not None:
            os.close(self._delivery)
            self._delivery = None

    def _deliveries(self, wanted: Callable[[Delivery], bool]) -> tuple[Delivery, ...]:
        found = [each for each in self._outbox.book().deliveries.values() if wanted(each)]
        return tuple(sorted(found, key=lambda each: (each.sequence, each.id)))
