"""Walk the records of consecutive WAL segments: where WAL ends, and the newest commit in it.

Memory is bounded by one segment and one record. Sources: PostgreSQL,
src/include/access/xlogrecord.h and xact.h, src/backend/access/transam/xlogreader.c.
"""

import struct
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import google_crc32c

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_page import (
    PAGE_BYTES,
    SHORT_HEADER_BYTES,
    SegmentHeader,
    check_segment,
)
from kb_dr.domain.wal_stretches import (
    FIRST_PAGE_CONTENT,
    PAGE_CONTENT,
    Positions,
    Stretch,
    stretches,
)
from kb_dr.errors import WalDamaged

_RECORD = struct.Struct("<IIQBBHI")
_RECORD_BYTES = _RECORD.size
_CRC_OFFSET = 20
_LONGEST_RECORD = 1020 * 1024 * 1024  # XLogRecordMaxSize

_RM_XLOG, _RM_XACT = 0, 1
_XLOG_SWITCH, _XLOG_RESTORE_POINT = 0x40, 0x70
_XACT_OPERATION = 0x70
_COMMITS, _ABORTS = (0x00, 0x30), (0x20, 0x40)
_DATA_SHORT, _DATA_LONG, _ORIGIN, _TOPLEVEL_XID = 255, 254, 253, 252

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WalPoint:
    """A moment of the WAL: replay that has passed ``lsn`` has passed what happened ``at``."""

    lsn: Lsn
    """The end of the record."""
    at: datetime


@dataclass(frozen=True, slots=True)
class StopRule:
    """Where recovery to a target stops: exactly one of ``at``, ``lsn`` and ``name`` is given.

    Source: PostgreSQL, src/backend/access/transam/xlogrecovery.c (recoveryStopsBefore,
    recoveryStopsAfter).
    """

    begin: Lsn
    """Records that begin before it are passed over: they belong to an older timeline."""
    at: datetime | None = None
    lsn: Lsn | None = None
    name: str | None = None
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class Stop:
    """Where replay stops for a target."""

    lsn: Lsn
    """The end of the last record replayed."""
    read_to: Lsn
    """The end of the record that decides it: WAL has to be there so far."""
    at: datetime | None
    """When the transaction that stops it ended, or the restore point was made; None for an LSN."""
    last_commit: WalPoint | None
    """The newest commit before, as far as it was read."""
    last_transaction: WalPoint | None
    """Commit or abort, likewise."""


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A point named by pg_create_restore_point()."""

    name: str
    lsn: Lsn
    """The end of its record, as the function returned it."""
    at: datetime


@dataclass(frozen=True, slots=True)
class WalTip:
    """How far the WAL that was read reaches."""

    end: Lsn
    """The end of its last complete, valid record, as pg_last_wal_replay_lsn() will say it."""
    timeline: int
    last_commit: WalPoint | None
    last_transaction: WalPoint | None
    """Commit or abort; pg_last_xact_replay_timestamp() counts both."""
    restore_points: tuple[RestorePoint, ...]
    """The newest 256 of them, oldest first."""


class WalReader:
    """Reads records from segments fed to it in order, along one line of timelines.

    It starts at the first record that begins in the first segment fed.
    """

    def __init__(self, rule: StopRule | None = None) -> None:
        self.stop: Stop | None = None
        """Where ``rule`` stops; what follows is not read."""
        self._rule = rule
        self.ended = False
        """Whether WAL has ended inside what was fed: what follows there is no valid record."""
        self._end: Lsn | None = None
        self._timeline = 0
        self._commit: WalPoint | None = None
        self._transaction: WalPoint | None = None
        self._restore_points: deque[RestorePoint] = deque(maxlen=256)
        self._previous: Lsn | None = None  # where the last record began
        self._expected: Lsn | None = None  # where the next segment must begin
        self._pending = b""
        self._pending_start = Lsn(0)

    def tip(self) -> WalTip | None:
        """How far it got; None before the first complete record."""
        if self._end is None:
            return None
        points = tuple(self._restore_points)
        return WalTip(self._end, self._timeline, self._commit, self._transaction, points)

    @property
    def last_record(self) -> Lsn | None:
        """Where the last complete record begins: the newest position that can be asked for."""
        return self._previous

    def feed(self, name: str, content: bytes, *, system_identifier: int | None = None) -> None:
        """Read the next segment.

        Raises what check_segment() raises, and WalDamaged when it does not follow the one before
        or when WAL ended inside that one: recovery would stop there, short of this segment.
        """
        header = check_segment(name, content, len(content), system_identifier=system_identifier)
        if self.ended:
            at = self._end if self._end is not None else "its start"
            raise WalDamaged(f"read WAL: it ends at {at}, but segment {name} follows")
        if self._expected is not None and header.address != self._expected:
            raise WalDamaged(
                f"read WAL: segment {name} starts at {header.address}, expected {self._expected}"
            )
        self._expected = header.address.plus(header.segment_bytes)
        for stretch in stretches(content):
            if not self.ended and self.stop is None:
                self._read_stretch(header, stretch)
        if self._previous is not None:
            page = max(self._previous - header.address, 0) // PAGE_BYTES * PAGE_BYTES
            self._timeline = struct.unpack_from("<I", content, page + 4)[0]

    def _read_stretch(self, header: SegmentHeader, pages: Stretch) -> None:
        lead = len(self._pending)
        position = 0
        if pages.overwrites:
            lead, self._pending = 0, b""
        elif lead:
            if pages.remaining != struct.unpack_from("<I", self._pending)[0] - lead:
                self.ended = True
                return
        elif pages.remaining:
            # The rest of a record whose start was not fed.
            position = _aligned(pages.remaining)
            if position >= len(pages.content):
                self.ended = pages.broken
                return
        where = Positions(header, pages.first_page, lead)
        data = self._pending + pages.content if lead else pages.content
        self._pending = b""
        unfinished = self._read_records(data, position, where)
        if unfinished is None:
            return
        if pages.broken:
            self.ended = True
            return
        self._pending = data[unfinished:]
        if self._pending and unfinished >= lead:
            self._pending_start = where.start_of(unfinished)

    def _read_records(self, data: bytes, position: int, where: Positions) -> int | None:
        """Read complete records; return where an unfinished one starts.

        None when nothing follows in this segment: after a switch, or because WAL ended.
        """
        # This loop is most of what a plan takes: no call in it that can be done without.
        size, lead, address = len(data), where.lead, int(where.header.address)
        begin, first_page = (
            (FIRST_PAGE_CONTENT, 1) if where.first_page == 0 else (0, where.first_page)
        )
        rule = self._rule
        stop_lsn = rule.lsn if rule is not None else None
        excluded = rule is not None and not rule.inclusive
        unpack, extend, crc_of = _RECORD.unpack_from, google_crc32c.extend, google_crc32c.value
        last: int | None = self._previous
        done: int | None = None
        try:
            while position + _RECORD_BYTES <= size:
                total, _xid, previous, info, rmid, _pad, crc = unpack(data, position)
                behind = position - lead - begin
                if behind >= 0:
                    page, rest = divmod(behind, PAGE_CONTENT)
                    start = address + (first_page + page) * PAGE_BYTES + SHORT_HEADER_BYTES + rest
                else:
                    start = where.start_of(position) if position >= lead else self._pending_start
                if (
                    not _RECORD_BYTES <= total <= _LONGEST_RECORD
                    or previous >= start
                    or (last is not None and previous != last)
                ):
                    self.ended = True
                    return None
                after = position + total
                if after > size:
                    return position
                body = crc_of(data[position + _RECORD_BYTES : after])
                if extend(body, data[position : position + _CRC_OFFSET]) != crc:
                    self.ended = True
                    return None
                next_position = (after + 7) & ~7
                here = stop_lsn is not None and start >= stop_lsn
                if here or rmid <= _RM_XACT:
                    if done is not None:
                        self._end = where.end_of(done)
                    switch = rmid == _RM_XLOG and info & 0xF0 == _XLOG_SWITCH
                    # PostgreSQL lets a switch record reach to the end of its segment.
                    end = where.segment_end if switch else where.end_of(min(next_position, size))
                    if rmid <= _RM_XACT and not (here and excluded):
                        self._note(rmid, info, data[position:after], Lsn(start), end)
                    if here:
                        self._stop_at(Lsn(start), end, None)
                    if self.stop is not None:
                        done = None
                        return None
                    if switch:
                        last, done, self._end = start, None, end
                        return None
                last, done = start, min(next_position, size)
                position = next_position
            if position + 4 <= size and data[position : position + 4] == b"\0\0\0\0":
                self.ended = True
                return None
            return position
        finally:
            self._previous = Lsn(last) if last is not None else None
            if done is not None:
                self._end = where.end_of(done)

    def _note(self, rmid: int, info: int, record: bytes, start: Lsn, end: Lsn) -> None:
        if rmid == _RM_XACT:
            operation = info & _XACT_OPERATION
            if operation in _COMMITS or operation in _ABORTS:
                data = _main_data(record)
                if len(data) >= 8:
                    self._note_transaction(_time(data), start, end, operation in _COMMITS)
        elif info & 0xF0 == _XLOG_RESTORE_POINT:
            data = _main_data(record)
            if len(data) >= 8:
                name = data[8:].split(b"\0", 1)[0].decode("utf-8", "replace")
                self._restore_points.append(RestorePoint(name, end, _time(data)))
                if self._rule is not None and self._rule.name == name:
                    self._stop_at(start, end, _time(data))

    def _note_transaction(self, at: datetime, start: Lsn, end: Lsn, committed: bool) -> None:
        rule = self._rule
        if rule is not None and rule.at is not None and at >= rule.at:
            if at > rule.at or not rule.inclusive:
                self._stop_at(start, end, at)
            if self.stop is not None:
                return
        self._transaction = WalPoint(end, at)
        if committed:
            self._commit = self._transaction

    def _stop_at(self, start: Lsn, end: Lsn, at: datetime | None) -> None:
        """This record decides: replay stops before it, or behind it."""
        rule = self._rule
        if rule is None or start < rule.begin:
            return
        behind = rule.name is not None or (rule.lsn is not None and rule.inclusive)
        before = self._end if self._end is not None else start
        self.stop = Stop(end if behind else before, end, at, self._commit, self._transaction)


def _aligned(position: int) -> int:
    return (position + 7) & ~7


def _main_data(record: bytes) -> bytes:
    """The record's own data, behind its headers; empty when it has none without blocks."""
    at = _RECORD_BYTES
    while at < len(record):
        kind = record[at]
        if kind == _DATA_SHORT:
            return record[len(record) - record[at + 1] :]
        if kind == _DATA_LONG:
            return record[len(record) - struct.unpack_from("<I", record, at + 1)[0] :]
        if kind == _ORIGIN:
            at += 3
        elif kind == _TOPLEVEL_XID:
            at += 5
        else:
            return b""
    return b""


def _time(data: bytes) -> datetime:
    microseconds = struct.unpack_from("<q", data)[0]
    return _POSTGRES_EPOCH + timedelta(microseconds=microseconds)
