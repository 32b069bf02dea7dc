"""Finds in WAL what would make a replaying server create a tablespace.

Such a record names a path of the source. Replayed on the source's host, by the user that runs the
source, it leads the server into the live tablespace, and what follows is written there. Sources:
PostgreSQL, src/backend/commands/tablespace.c (tblspc_redo, create_tablespace_directories),
src/include/access/xlogrecord.h and rmgrlist.h.
"""

import mmap
import re
import struct
from dataclasses import dataclass

import google_crc32c

from kb_dr.domain.wal_page import LONG_HEADER_BYTES, PAGE_BYTES, SHORT_HEADER_BYTES

_INFO_OFFSET = 16
_CRC_OFFSET = 20
_RECORD_BYTES = 24
_CREATES = re.compile(rb"\x00\x05\x00\x00")
"""xl_info XLOG_TBLSPC_CREATE, xl_rmid RM_TBLSPC_ID, and two bytes of padding. As an expression it
is found in half the time that find() takes."""
_LONGEST = 8 * 1024
"""A path is at most 1,024 bytes long (MAXPGPATH)."""
_BORDER_PAGES = 2
"""Without their headers they hold more than the longest record."""
_ALIGNMENT = 8
_DATA_SHORT, _DATA_LONG = 255, 254
_NOTHING_BYTES = 64 * 1024
_NOTHING = bytes(_NOTHING_BYTES)


@dataclass(frozen=True, slots=True)
class CreatedTablespace:
    """A tablespace that replay would create."""

    oid: int
    location: str


class TablespaceWatch:
    """Sees the segments of one line of WAL pass, in order.

    Every record is found, also one that lies in two segments: then when the second passes, without
    which it cannot be replayed. The CRC is checked, so that nothing else is taken for one. It costs
    a search of the bytes, not a walk from record to record.
    """

    def __init__(self) -> None:
        self._before = b""

    def forget(self) -> None:
        """The next segment does not follow the last."""
        self._before = b""

    def passed(self, segment: bytes | mmap.mmap) -> CreatedTablespace | None:
        """The first tablespace this segment creates at a path; None when it creates none."""
        border = self._before + _without_headers(segment, 0, _BORDER_PAGES)
        pages = -(-len(segment) // PAGE_BYTES)
        self._before = _without_headers(segment, max(pages - _BORDER_PAGES, 0), pages)[-_LONGEST:]
        return _found(border) or _found_within(segment)


def _found(data: bytes) -> CreatedTablespace | None:
    """The first in a piece of WAL without page headers."""
    for match in _CREATES.finditer(data):
        at = match.start()
        # Records begin at multiples of 8, in pages and so in what is between their headers.
        if at % _ALIGNMENT == 0 and at >= _INFO_OFFSET:
            found = _read(data, at - _INFO_OFFSET)
            if found is not None and found.location:
                return found
    return None


def _found_within(segment: bytes | mmap.mmap) -> CreatedTablespace | None:
    """The first of which the segment holds all, found without a copy of it.

    What is looked for lies in 8 aligned bytes, so no page header ever parts it.
    """
    # Behind a switch all is zero, which is slow to search.
    end = len(segment)
    while segment[max(end - _NOTHING_BYTES, 0) : end] == _NOTHING:
        end -= _NOTHING_BYTES
    for match in _CREATES.finditer(segment, 0, end):
        page, offset = divmod(match.start(), PAGE_BYTES)
        header = SHORT_HEADER_BYTES if page else LONG_HEADER_BYTES
        if offset % _ALIGNMENT or offset < header:
            continue
        first = max(page - 1, 0)
        data = _without_headers(segment, first, page + 1 + _BORDER_PAGES)
        at = offset - header
        if page > first:
            at += PAGE_BYTES - (SHORT_HEADER_BYTES if first else LONG_HEADER_BYTES)
        if at >= _INFO_OFFSET:
            found = _read(data, at - _INFO_OFFSET)
            if found is not None and found.location:
                return found
    return None


def _without_headers(segment: bytes | mmap.mmap, first: int, end: int) -> bytes:
    """The pages from ``first`` up to ``end``, as far as there are."""
    data = segment[first * PAGE_BYTES : end * PAGE_BYTES]
    begin = SHORT_HEADER_BYTES if first else LONG_HEADER_BYTES
    rest = range(PAGE_BYTES, len(data), PAGE_BYTES)
    return b"".join(
        (
            data[begin:PAGE_BYTES],
            *(data[page + SHORT_HEADER_BYTES : page + PAGE_BYTES] for page in rest),
        )
    )


def _read(data: bytes, start: int) -> CreatedTablespace | None:
    """The record at ``start``; None when there is none, or not all of it yet."""
    total = struct.unpack_from("<I", data, start)[0]
    if not _RECORD_BYTES < total <= _LONGEST or start + total > len(data):
        return None
    record = data[start : start + total]
    crc = google_crc32c.extend(google_crc32c.value(record[_RECORD_BYTES:]), record[:_CRC_OFFSET])
    if crc != struct.unpack_from("<I", record, _CRC_OFFSET)[0]:
        return None
    kind = record[_RECORD_BYTES]
    # Its own data is all it carries: the length, the OID, and the path with a zero byte.
    begin = _RECORD_BYTES + {_DATA_SHORT: 2, _DATA_LONG: 5}.get(kind, 0)
    if begin == _RECORD_BYTES or total < begin + 4:
        return CreatedTablespace(0, "an unreadable path")
    oid = struct.unpack_from("<I", record, begin)[0]
    return CreatedTablespace(oid, record[begin + 4 :].split(b"\0", 1)[0].decode("utf-8", "replace"))
