"""What stands in a copy has no hole, whatever moment its shipper looked at the spool."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.stored import StoredObject
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_page import written_length
from kb_dr.errors import KbDrError, ObjectConflict, RepositoryUnavailable, WrongRepository
from kb_dr.operations.shared_codec import SharedCodec
from kb_dr.operations.ship_wal import CodedPartial, Shipper
from kb_dr.operations.stream_spool import StreamSpool
from kb_dr.ports import Repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
FIRST = Segment(1, 1, SEGMENT_BYTES)


class Dated(PlainCodec):
    """As age: what it encodes is longer each time."""

    encoded = 0

    def encode(self, plain: bytes) -> bytes:
        Dated.encoded += 1
        return b"x" * Dated.encoded + b":" + super().encode(plain)

    def decode(self, coded: bytes) -> bytes:
        return super().decode(coded.partition(b":")[2])


class HookedSpool(StreamSpool):
    """Something happens just after the complete segments were listed."""

    then: Callable[[], None] = staticmethod(lambda: None)

    def complete(self) -> list[Path]:
        found = super().complete()
        self.then()
        return found


@dataclass
class Shipping:
    """A stream's spool, two copies and their shippers."""

    directory: Path
    primary: MemoryRepository = field(default_factory=MemoryRepository)
    offsite: MemoryRepository = field(default_factory=lambda: MemoryRepository("offsite"))

    def __post_init__(self) -> None:
        (self.directory / "wal").mkdir()
        self.spool = HookedSpool(self.directory, SYSTEM_IDENTIFIER, SEGMENT_BYTES)
        self.codec = SharedCodec(Dated(), self.directory / "coded")
        self.writer = WalWriter(FIRST)
        self.to_primary = self.shipper(self.primary)
        self.to_offsite = self.shipper(self.offsite, self.to_primary)

    def shipper(self, repository: MemoryRepository, primary: Shipper | None = None) -> Shipper:
        return Shipper(
            repository,
            self.codec,
            FakeClock(),
            self.spool,
            SYSTEM_IDENTIFIER,
            check=self.check,
            primary=primary,
        )

    def check(self, repository: Repository) -> None:
        repository.check()

    def complete(self, segment: Segment) -> Path:
        """A segment is complete."""
        self.writer.fill(segment.number - FIRST.number + 1)
        path = self.spool.wal / segment.name
        path.write_bytes(self.writer.segments()[segment.name])
        return path

    def partial(self, segment: Segment) -> CodedPartial:
        """The next one is being written."""
        self.writer.commit(AT)
        content = self.writer.segments()[segment.name]
        length = written_length(content)
        upto = segment.start.plus(length)
        key = layout.partial_key(SYSTEM_IDENTIFIER, segment.name, upto)
        return CodedPartial(segment, upto, key, PlainCodec().encode(content[:length]))

    def offer(self, partial: CodedPartial | None = None) -> None:
        for shipper in (self.to_primary, self.to_offsite):
            shipper.offer(partial)


@pytest.fixture
def shipping(tmp_path: Path) -> Iterator[Shipping]:
    made = Shipping(tmp_path)
    made.to_primary.start()
    made.to_offsite.start()
    try:
        yield made
    finally:
        made.to_primary.stop(10)
        made.to_offsite.stop(10)


def wait_until(shipping: Shipping, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        shipping.offer()
        time.sleep(0.01)


def test_a_partial_is_never_shipped_before_the_segment_that_became_complete_meanwhile(
    shipping: Shipping,
) -> None:
    """The list of complete segments may be older than the newest partial."""
    holes: list[str] = []
    offered: list[CodedPartial] = []

    def complete_the_first() -> None:
        if not offered:
            shipping.complete(FIRST)
            offered.append(shipping.partial(FIRST.next()))
            shipping.offer(offered[0])

    put = shipping.primary.put

    def watching(key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        full = [each for each in shipping.primary.bodies if ".partial/" not in each]
        if ".partial/" in key and not full:
            holes.append(key)
        return put(key, body)

    shipping.primary.put = watching  # type: ignore[method-assign]  # looks on
    shipping.spool.then = complete_the_first
    wait_until(
        shipping,
        lambda: (
            bool(offered)
            and all(offered[0].key in each.bodies for each in (shipping.primary, shipping.offsite))
        ),
    )

    assert holes == []
    assert shipping.primary.bodies == shipping.offsite.bodies


def test_a_copy_gets_the_bytes_that_somebody_else_stored_first(shipping: Shipping) -> None:
    path = shipping.complete(FIRST)
    plain = path.read_bytes()
    key = layout.wal_key(SYSTEM_IDENTIFIER, FIRST.name, hashlib.sha256(plain).hexdigest())
    stored = Dated().encode(plain)
    shipping.primary.put(key, stored)

    wait_until(shipping, lambda: shipping.to_offsite.pushed(path) is not None)

    assert shipping.offsite.bodies == {key: stored}


def test_a_damaged_object_of_the_primary_is_not_passed_on(shipping: Shipping) -> None:
    path = shipping.complete(FIRST)
    plain = path.read_bytes()
    key = layout.wal_key(SYSTEM_IDENTIFIER, FIRST.name, hashlib.sha256(plain).hexdigest())
    shipping.primary.put(key, b":damaged")

    wait_until(shipping, lambda: shipping.to_offsite.pushed(path) is not None)

    assert Dated().decode(shipping.offsite.bodies[key]) == plain


def test_while_the_primary_is_down_the_other_copy_gets_everything(shipping: Shipping) -> None:
    shipping.primary.failures[""] = RepositoryUnavailable("down")
    path = shipping.complete(FIRST)
    partial = shipping.partial(FIRST.next())
    shipping.offer(partial)

    wait_until(shipping, lambda: partial.key in shipping.offsite.bodies)
    assert shipping.to_offsite.pushed(path) is not None
    assert shipping.to_primary.pushed(path) is None

    shipping.primary.failures.clear()
    wait_until(shipping, lambda: partial.key in shipping.primary.bodies)
    assert shipping.primary.bodies == shipping.offsite.bodies


@pytest.mark.parametrize("held", ["full", "partial"])
def test_a_primary_that_does_not_answer_is_waited_for_only_so_long(
    shipping: Shipping, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """Whatever it was given last."""
    monkeypatch.setattr("kb_dr.operations.ship_wal._SLOW_SECONDS", 0.1)
    answers = threading.Event()
    put = shipping.primary.put

    def hanging(key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        if (held == "partial") == (".partial/" in key):
            answers.wait(60)
        return put(key, body)

    shipping.primary.put = hanging  # type: ignore[method-assign]  # holds up
    if held == "partial":
        shipping.offer(shipping.partial(FIRST))
        time.sleep(0.2)
    path = shipping.complete(FIRST)
    wait_until(shipping, lambda: shipping.to_offsite.pushed(path) is not None)

    assert shipping.to_primary.pushed(path) is None
    answers.set()
    wait_until(shipping, lambda: shipping.to_primary.pushed(path) is not None)


def test_what_cannot_be_mended_in_the_primary_is_given_up(shipping: Shipping) -> None:
    shipping.primary.put(layout.wal_key(SYSTEM_IDENTIFIER, FIRST.name, "0" * 64), b"other")
    shipping.complete(FIRST)

    wait_until(shipping, lambda: shipping.to_primary.failure is not None)
    with pytest.raises(ObjectConflict):
        shipping.to_primary.require_running()
    shipping.to_offsite.require_running()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_shipper_that_broke_does_not_look_alive(shipping: Shipping) -> None:
    def broken(key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        raise ValueError("nobody thought of this")

    shipping.primary.put = broken  # type: ignore[method-assign]  # as a bug would
    shipping.complete(FIRST)
    shipping.offer()

    wait_until(shipping, lambda: not shipping.to_primary._thread.is_alive())
    with pytest.raises(KbDrError, match="its thread ended"):
        shipping.to_primary.require_running()


def test_another_services_offsite_place_is_never_written_and_ends_nothing(tmp_path: Path) -> None:
    class Strange(Shipping):
        def check(self, repository: Repository) -> None:
            if repository.name == "offsite":
                raise WrongRepository("it belongs to another service")

    shipping = Strange(tmp_path)
    shipping.to_primary.start()
    shipping.to_offsite.start()
    try:
        path = shipping.complete(FIRST)
        wait_until(shipping, lambda: shipping.to_primary.pushed(path) is not None)
        wait_until(shipping, lambda: shipping.to_offsite.in_trouble)
        assert shipping.offsite.bodies == {}
        assert shipping.to_offsite.failure is None
    finally:
        shipping.to_primary.stop(10)
        shipping.to_offsite.stop(10)
