"""WAL written by the tests: real page and record headers around invented records."""

import struct
from datetime import UTC, datetime

import google_crc32c

from kb_dr.domain.wal_names import Segment

SYSTEM_IDENTIFIER = 7_700_000_000_000_000_001
SEGMENT_BYTES = 1024 * 1024
_PAGE = 8192
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class WalWriter:
    """Writes records one after the other, as PostgreSQL lays them out."""

    def __init__(
        self,
        first: Segment,
        *,
        system_identifier: int = SYSTEM_IDENTIFIER,
        magic: int = 0xD113,
    ) -> None:
        self.first = first
        self.size = first.segment_bytes
        self.system = system_identifier
        self.magic = magic
        self.written = bytearray()
        self.previous = 0
        self._open_page(0)

    @property
    def lsn(self) -> int:
        """Where the next byte goes."""
        return self.first.start + len(self.written)

    def record(self, payload: bytes = b"x" * 100, *, rmid: int = 10, info: int = 0) -> int:
        """Write one record with ``payload`` as its main data; return its end."""
        if len(payload) < 256:
            body = bytes((255, len(payload))) + payload
        else:
            body = struct.pack("<BI", 254, len(payload)) + payload
        if rmid == 0 and info == 0x40:
            body = b""
        if len(self.written) % _PAGE == 0:
            self._open_page(0)
        start = self.lsn
        head = struct.pack("<IIQBBxx", 24 + len(body), 5, self.previous, info, rmid)
        crc = google_crc32c.extend(google_crc32c.value(body), head)
        self._write(head + struct.pack("<I", crc) + body)
        self.previous = start
        self.written += bytes(-len(self.written) % 8)
        return self.lsn

    def commit(self, at: datetime) -> int:
        """Write a commit; return its end."""
        return self.record(_time(at), rmid=1, info=0x80)

    def restore_point(self, name: str, at: datetime) -> int:
        """Write a restore point; return its end."""
        return self.record(_time(at) + name.encode().ljust(64, b"\0"), rmid=0, info=0x70)

    def switch(self) -> int:
        """Leave the rest of the segment empty; return where the next one starts."""
        self.record(rmid=0, info=0x40)
        self.written += bytes(-len(self.written) % self.size)
        return self.lsn

    def fill(self, segments: int) -> None:
        """Write records until so many segments are full."""
        while len(self.written) < segments * self.size:
            self.record(b"f" * 3000)

    def segments(self) -> dict[str, bytes]:
        """What was written, each segment under its name; the last one padded with zeros."""
        padded = bytes(self.written) + bytes(-len(self.written) % self.size)
        found = {}
        segment = self.first
        for start in range(0, len(padded), self.size):
            found[segment.name] = padded[start : start + self.size]
            segment = segment.next()
        return found

    def _write(self, data: bytes) -> None:
        while data:
            if len(self.written) % _PAGE == 0:
                self._open_page(len(data))
            room = _PAGE - len(self.written) % _PAGE
            self.written += data[:room]
            data = data[room:]

    def _open_page(self, remaining: int) -> None:
        long = len(self.written) % self.size == 0
        info = (1 if remaining else 0) | (2 if long else 0)
        self.written += struct.pack(
            "<HHIQI4x", self.magic, info, self.first.timeline, self.lsn, remaining
        )
        if long:
            self.written += struct.pack("<QII", self.system, self.size, _PAGE)


def full_segments(
    first: int, count: int, *, timeline: int = 1, system_identifier: int = SYSTEM_IDENTIFIER
) -> dict[str, bytes]:
    """Consecutive segments of 1 MiB, full of records."""
    writer = WalWriter(Segment(timeline, first, SEGMENT_BYTES), system_identifier=system_identifier)
    writer.fill(count)
    return dict(list(writer.segments().items())[:count])


def _time(at: datetime) -> bytes:
    return struct.pack("<q", round((at - _EPOCH).total_seconds() * 1_000_000))
