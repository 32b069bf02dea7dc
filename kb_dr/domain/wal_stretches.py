"""The content of a WAL segment without its page headers, and where each byte of it stands.

Source: PostgreSQL, src/include/access/xlog_internal.h (XLogPageHeaderData).
"""

from dataclasses import dataclass

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_page import (
    FIRST_IS_OVERWRITE,
    LONG_HEADER_BYTES,
    PAGE_BYTES,
    SHORT_HEADER_BYTES,
    PageHeader,
    SegmentHeader,
    read_page_header,
)

FIRST_PAGE_CONTENT = PAGE_BYTES - LONG_HEADER_BYTES
PAGE_CONTENT = PAGE_BYTES - SHORT_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pages of one segment whose content reads on without a break."""

    first_page: int
    content: bytes
    remaining: int
    overwrites: bool
    """A record begun before this stretch was abandoned in a crash."""
    broken: bool
    """The next page, if there is one, is none of this WAL."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Where in the WAL each byte of the data being read stands."""

    header: SegmentHeader
    first_page: int
    lead: int
    """Bytes at the front of the data that came from earlier segments."""

    def start_of(self, position: int) -> Lsn:
        """The LSN of the byte at ``position``."""
        return self.header.address.plus(_offset(position - self.lead, self.first_page))

    @property
    def segment_end(self) -> Lsn:
        """Where the next segment begins."""
        return self.header.address.plus(self.header.segment_bytes)

    def end_of(self, position: int) -> Lsn:
        """The LSN after the byte before ``position``: a page boundary stays one."""
        return self.start_of(position - 1).plus(1)


def _offset(position: int, first_page: int) -> int:
    """Where in its segment a byte of a stretch stands, page headers counted."""
    if first_page == 0:
        if position < FIRST_PAGE_CONTENT:
            return LONG_HEADER_BYTES + position
        position -= FIRST_PAGE_CONTENT
        first_page = 1
    page, rest = divmod(position, PAGE_CONTENT)
    return (first_page + page) * PAGE_BYTES + SHORT_HEADER_BYTES + rest


def stretches(content: bytes) -> list[Stretch]:
    """A segment's pages without their headers, up to the first that is not of this WAL."""
    found: list[Stretch] = []
    view = memoryview(content)
    first = read_page_header(view)
    if first is None:
        return [Stretch(0, b"", 0, False, True)]
    begin, opening = 0, first
    pieces = [view[LONG_HEADER_BYTES:PAGE_BYTES]]
    broken = False
    for offset in range(PAGE_BYTES, len(content), PAGE_BYTES):
        header = read_page_header(view[offset : offset + SHORT_HEADER_BYTES])
        if (
            header is None
            or header.magic != first.magic
            or header.address != first.address + offset
            or header.timeline < first.timeline
        ):
            broken = True
            break
        if header.info & FIRST_IS_OVERWRITE:
            found.append(_finish(begin, pieces, opening, broken=False))
            begin, opening, pieces = offset // PAGE_BYTES, header, []
        pieces.append(view[offset + SHORT_HEADER_BYTES : offset + PAGE_BYTES])
    found.append(_finish(begin, pieces, opening, broken=broken))
    return found


def _finish(
    first_page: int, pieces: list[memoryview], opening: PageHeader, *, broken: bool
) -> Stretch:
    overwrites = bool(opening.info & FIRST_IS_OVERWRITE)
    return Stretch(first_page, b"".join(pieces), opening.remaining, overwrites, broken)
