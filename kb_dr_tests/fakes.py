"""Fakes of the ports that hold to the same contracts as the real ones."""

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Lock

from kb_dr.adapters.digests import described, require_recorded
from kb_dr.adapters.repository_keys import checked_key
from kb_dr.domain.space import Space
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import ChecksumMismatch, ObjectConflict, ObjectMissing, ObjectRetained
from kb_dr.ports import Readable, Writable


class FakeClock:
    """A `kb_dr.ports.Clock` that stands still until told, or until somebody sleeps."""

    def __init__(self, now: datetime = datetime(2026, 11, 20, 2, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.pass_time(timedelta(seconds=seconds))

    def pass_time(self, span: timedelta) -> None:
        """Both clocks go on."""
        self._now += span
        self._monotonic += span.total_seconds()

    def set(self, now: datetime) -> None:
        """The wall clock jumps, also back; the other one does not."""
        self._now = now


class MemoryRepository:
    """A `kb_dr.ports.Repository` in memory; ``bodies`` is open for tests to damage."""

    def __init__(self, name: str = "primary", clock: FakeClock | None = None) -> None:
        self._name = name
        self._clock = clock or FakeClock()
        self._lock = Lock()
        self.bodies: dict[str, bytes] = {}
        self._modified: dict[str, datetime] = {}
        self.failures: dict[str, Exception] = {}
        """Raised by any call on that key; ``""`` for every key and for listings."""
        self.room: Space | None = None
        self.retained: dict[str, datetime] = {}
        """Keys that cannot be deleted, each until when; ``""`` stands for all of them."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    def check(self) -> None:
        self._fail("")

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        self._fail(checked_key(key))
        with self._lock:
            there = self.bodies.setdefault(key, bytes(body))
            self._modified.setdefault(key, self._clock.now())
        if there != body:
            raise ObjectConflict(f"put {self.url}/{key}: other bytes stand there already")
        return described(key, body)

    def get(self, stored: StoredObject) -> bytes:
        body = self.read(stored.key)
        require_recorded(f"{self.url}/{stored.key}", stored, body)
        return body

    def read(self, key: str) -> bytes:
        self._fail(checked_key(key))
        try:
            return self.bodies[key]
        except KeyError:
            raise ObjectMissing(f"get {self.url}/{key}: no such object") from None

    def read_start(self, listed: Listed, count: int) -> bytes:
        return self.read(listed.key)[:count]

    def find(self, key: str) -> Listed | None:
        self._fail(checked_key(key))
        body = self.bodies.get(key)
        return None if body is None else self._listed(key, body)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        self._fail("")
        there = list(self.bodies.items())  # at once: other threads write meanwhile
        for key, body in sorted(
            each for each in there if each[0].startswith(prefix) and each[0] > start_after
        ):
            yield self._listed(key, body)

    def delete(self, key: str) -> None:
        self._fail(checked_key(key))
        until = self._retained(key)
        if until is not None:
            raise ObjectRetained(f"delete {self.url}/{key}: retained until {until:%Y-%m-%d}")
        self.bodies.pop(key, None)
        self._modified.pop(key, None)

    def space(self) -> Space | None:
        self._fail("")
        return self.room

    def retained_until(self, prefix: str) -> datetime | None:
        self._fail("")
        found = [self._retained(key) for key in self.bodies if key.startswith(prefix)]
        return max((until for until in found if until is not None), default=None)

    def _retained(self, key: str) -> datetime | None:
        """Until when the object is retained; None when it is not there, or no longer retained."""
        if key not in self.bodies:
            return None
        until = self.retained.get(key) or self.retained.get("")
        return until if until is not None and until > self._clock.now() else None

    def _listed(self, key: str, body: bytes) -> Listed:
        return Listed(key, len(body), self._modified.get(key, self._clock.now()))

    def _fail(self, key: str) -> None:
        failure = self.failures.get(key) or self.failures.get("")
        if failure is not None:
            raise failure


_PLAIN = b"plain:"


class PlainCodec:
    """A `kb_dr.ports.Codec` that neither compresses nor encrypts; a CRC finds damage."""

    @property
    def recipients(self) -> tuple[str, ...]:
        return ("nobody",)

    @property
    def identities(self) -> tuple[str, ...]:
        return self.recipients

    def encode(self, plain: bytes) -> bytes:
        return _PLAIN + zlib.crc32(plain).to_bytes(4, "big") + plain

    def decode(self, coded: bytes) -> bytes:
        crc, plain = coded[len(_PLAIN) : len(_PLAIN) + 4], coded[len(_PLAIN) + 4 :]
        if not coded.startswith(_PLAIN) or crc != zlib.crc32(plain).to_bytes(4, "big"):
            raise ChecksumMismatch("decode a stream: damaged")
        return plain

    def decode_into(self, coded: bytes, sink: Writable) -> int:
        return sink.write(self.decode(coded))

    def openers(self, start: bytes) -> tuple[str, ...]:
        if not start.startswith(_PLAIN):
            raise ChecksumMismatch("read a header: this is none")
        return self.recipients

    def encode_stream(self, plain: Readable, sink: Writable) -> int:
        body = _all(plain)
        sink.write(self.encode(body))
        return len(body)

    def decode_stream(self, coded: Readable, sink: Writable) -> int:
        body = self.decode(_all(coded))
        sink.write(body)
        return len(body)


class RecordingProgress:
    """A `kb_dr.ports.Progress` that remembers what it was told."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.done: list[int] = []
        self.ended = 0
        self._lock = Lock()

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        self.phases.append((phase, total_bytes))
        self.done.append(0)

    def advance(self, count: int) -> None:
        with self._lock:
            self.done[-1] += count

    def end(self) -> None:
        self.ended += 1


def _all(stream: Readable) -> bytes:
    parts = []
    while part := stream.read(1 << 16):
        parts.append(part)
    return b"".join(parts)
