"""The page headers of WAL: what a segment says of itself in its first 40 bytes.

Source: PostgreSQL, src/include/access/xlog_internal.h (XLogPageHeaderData and
XLogLongPageHeaderData); XLOG_PAGE_MAGIC of each major version.
"""

import struct
from dataclasses import dataclass

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import Segment, timeline_of
from kb_dr.errors import WalDamaged, WrongCluster

PAGE_BYTES = 8192
SHORT_HEADER_BYTES = 24
LONG_HEADER_BYTES = 40

MAJOR_BY_MAGIC = {0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}

FIRST_IS_CONTINUATION = 0x0001
LONG_HEADER = 0x0002
FIRST_IS_OVERWRITE = 0x0008
"""The record this page would continue was abandoned in a crash; a new one stands here."""

_ALL_FLAGS = 0x000F
_SHORT = struct.Struct("<HHIQI4x")
_LONG = struct.Struct("<HHIQI4xQII")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PageHeader:
    """What stands at the start of each WAL page."""

    magic: int
    info: int
    timeline: int
    address: Lsn
    remaining: int
    """Bytes of a record begun on an earlier page that are still to come."""

    @property
    def size_bytes(self) -> int:
        """Where the page's content starts."""
        return LONG_HEADER_BYTES if self.info & LONG_HEADER else SHORT_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What the first page of a segment says."""

    major: int
    """The major version of PostgreSQL that wrote it."""
    timeline: int
    address: Lsn
    system_identifier: int
    segment_bytes: int


def read_page_header(page: bytes | memoryview) -> PageHeader | None:
    """The header, or None when this is not a WAL page of a version we know."""
    if len(page) < SHORT_HEADER_BYTES:
        return None
    magic, info, timeline, address, remaining = _SHORT.unpack_from(page)
    if magic not in MAJOR_BY_MAGIC or info & ~_ALL_FLAGS:
        return None
    return PageHeader(magic, info, timeline, Lsn(address), remaining)


def read_segment_header(head: bytes, *, name: str) -> SegmentHeader:
    """Read a segment's first 40 bytes; raise WalDamaged when they are no WAL page header.

    ``name`` is only what the error calls the file.
    """
    if not head:
        raise WalDamaged(f"read WAL file {name}: it has zero bytes")
    if len(head) < LONG_HEADER_BYTES:
        raise WalDamaged(f"read WAL file {name}: truncated to {len(head)} bytes")
    if not any(head[:LONG_HEADER_BYTES]):
        raise WalDamaged(f"read WAL file {name}: its header is all zeros")
    magic, info, timeline, address, _, system, segment_bytes, block_bytes = _LONG.unpack_from(head)
    if magic not in MAJOR_BY_MAGIC:
        known = ", ".join(f"{each:04X} ({major})" for each, major in MAJOR_BY_MAGIC.items())
        raise WalDamaged(f"read WAL file {name}: page magic {magic:04X}, expected one of {known}")
    if not info & LONG_HEADER:
        raise WalDamaged(f"read WAL file {name}: it does not start with a long page header")
    if block_bytes != PAGE_BYTES:
        raise WalDamaged(f"read WAL file {name}: WAL pages of {block_bytes} bytes, expected 8192")
    if not is_segment_size(segment_bytes):
        raise WalDamaged(f"read WAL file {name}: its header names {segment_bytes}-byte segments")
    return SegmentHeader(MAJOR_BY_MAGIC[magic], timeline, Lsn(address), system, segment_bytes)


def is_segment_size(size_bytes: int) -> bool:
    """Whether PostgreSQL can have segments of this size: a power of 2 from 1 MiB to 1 GiB."""
    return _MIB <= size_bytes <= 1024 * _MIB and size_bytes & (size_bytes - 1) == 0


def check_segment(
    name: str, head: bytes, length: int, *, system_identifier: int | None = None
) -> SegmentHeader:
    """Hold a segment (or ``.partial``) against its name; return its header.

    ``head`` is its first 40 bytes or more, ``length`` the size of the whole in bytes.
    Raises WalDamaged (zero bytes, truncated, not WAL, of another address or a later timeline)
    or WrongCluster. The first page of a timeline's first segment was copied from its parent and
    bears an earlier timeline, so an earlier one is no error.
    """
    if length == 0:
        raise WalDamaged(f"check WAL segment {name}: it has zero bytes")
    header = read_segment_header(head, name=name)
    if length != header.segment_bytes:
        what = "truncated" if length < header.segment_bytes else "too long"
        raise WalDamaged(
            f"check WAL segment {name}: {what}, {length} bytes, expected {header.segment_bytes}"
        )
    if system_identifier is not None and header.system_identifier != system_identifier:
        raise WrongCluster(
            f"check WAL segment {name}: written by cluster {header.system_identifier}, "
            f"expected {system_identifier}",
            hint="Each cluster needs a repository (KB_DR_ORG or prefix) and settings of its own.",
        )
    try:
        expected = Segment.parse(name[:24], header.segment_bytes)
    except ValueError as error:
        raise WalDamaged(f"check WAL segment {name}: {error}") from error
    if header.address != expected.start:
        raise WalDamaged(
            f"check WAL segment {name}: its first page is of {header.address}, "
            f"expected {expected.start}"
        )
    if not 0 < header.timeline <= timeline_of(name):
        raise WalDamaged(
            f"check WAL segment {name}: its first page is of timeline {header.timeline}"
        )
    return header


def check_pages(name: str, content: bytes, *, system_identifier: int | None = None) -> None:
    """Check every page header of a whole segment; raises as check_segment() does.

    After a segment switch PostgreSQL leaves zeros to the end, so pages of zeros may end a
    segment, but no page may follow one. Source: src/backend/access/transam/xlog.c,
    CopyXLogRecordToWAL().
    """
    header = check_segment(name, content, len(content), system_identifier=system_identifier)
    magic = struct.unpack_from("<H", content)[0]
    timeline = header.timeline
    zeros_from: Lsn | None = None
    for offset in range(PAGE_BYTES, len(content), PAGE_BYTES):
        address = header.address.plus(offset)
        fields = _SHORT.unpack_from(content, offset)
        if not any(fields):
            zeros_from = zeros_from or address
            continue
        if zeros_from is not None:
            raise WalDamaged(f"check WAL segment {name}: a hole of zeros from {zeros_from}")
        if fields[0] != magic or fields[3] != address:
            raise WalDamaged(
                f"check WAL segment {name}: no page of {address} there "
                f"(magic {fields[0]:04X}, address {Lsn(fields[3])})"
            )
        if not timeline <= fields[2] <= timeline_of(name):
            raise WalDamaged(
                f"check WAL segment {name}: the page at {address} is of timeline {fields[2]}"
            )
        timeline = fields[2]


def written_length(content: bytes) -> int:
    """How far a segment that is still being written holds WAL, in bytes from its start.

    Up to the last byte that is not zero, at a record's alignment; a page header without anything
    behind it is not counted. What is cut off are zeros alone: padded with them again, the rest is
    what was written.
    """
    length = (len(content.rstrip(b"\0")) + 7) & ~7
    into = length % PAGE_BYTES
    header = LONG_HEADER_BYTES if length < PAGE_BYTES else SHORT_HEADER_BYTES
    return length - into if into <= header else length
