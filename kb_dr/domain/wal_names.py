"""Names of WAL files, and the arithmetic between segments, LSNs and timelines.

Source: PostgreSQL, src/include/access/xlog_internal.h (XLogFileName and its neighbours).
"""

import re
from dataclasses import dataclass

from kb_dr.domain.lsn import Lsn

DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_BACKUP = re.compile(r"([0-9A-F]{24})\.([0-9A-F]{8})\.backup")
_PARTIAL = re.compile(r"([0-9A-F]{24})\.partial")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One WAL segment of one timeline, numbered from the start of the WAL."""

    timeline: int
    number: int
    segment_bytes: int = DEFAULT_SEGMENT_BYTES

    @classmethod
    def parse(cls, name: str, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> "Segment":
        """Read a 24-digit name; raise ValueError for anything else."""
        if not is_segment(name):
            raise ValueError(f"not a WAL segment name: {name!r}")
        per_file = 0x1_0000_0000 // segment_bytes
        low = int(name[16:], 16)
        if low >= per_file:
            raise ValueError(f"no such WAL segment with {segment_bytes}-byte segments: {name!r}")
        return cls(int(name[:8], 16), int(name[8:16], 16) * per_file + low, segment_bytes)

    @classmethod
    def holding(cls, timeline: int, lsn: Lsn, segment_bytes: int) -> "Segment":
        """The segment in which the byte at ``lsn`` lies."""
        return cls(timeline, lsn // segment_bytes, segment_bytes)

    @classmethod
    def ending_at_or_after(cls, timeline: int, end: Lsn, segment_bytes: int) -> "Segment":
        """The segment of the last byte before ``end``: all WAL up to ``end`` stands up to it."""
        return cls(timeline, max(end - 1, 0) // segment_bytes, segment_bytes)

    @property
    def name(self) -> str:
        """The 24-digit name PostgreSQL gives the file."""
        per_file = 0x1_0000_0000 // self.segment_bytes
        return f"{self.timeline:08X}{self.number // per_file:08X}{self.number % per_file:08X}"

    @property
    def start(self) -> Lsn:
        """Its first byte."""
        return Lsn(self.number * self.segment_bytes)

    @property
    def end(self) -> Lsn:
        """The byte after its last."""
        return Lsn((self.number + 1) * self.segment_bytes)

    def next(self) -> "Segment":
        """The one after it on the same timeline."""
        return Segment(self.timeline, self.number + 1, self.segment_bytes)

    def at(self, number: int) -> "Segment":
        """The segment of this number on the same timeline."""
        return Segment(self.timeline, number, self.segment_bytes)

    def on(self, timeline: int) -> "Segment":
        """The segment of the same number on another timeline."""
        return Segment(timeline, self.number, self.segment_bytes)


def is_segment(name: str) -> bool:
    """Whether this names a full segment."""
    return _SEGMENT.fullmatch(name) is not None


def is_history(name: str) -> bool:
    """Whether this names a timeline history file."""
    return _HISTORY.fullmatch(name) is not None


def is_backup_label(name: str) -> bool:
    """Whether this names a backup history file (``….00000028.backup``)."""
    return _BACKUP.fullmatch(name) is not None


def is_partial(name: str) -> bool:
    """Whether this names a segment that a promotion or a stream left unfinished."""
    return _PARTIAL.fullmatch(name) is not None


def is_wal_file(name: str) -> bool:
    """Whether PostgreSQL may ask an archive for a file of this name, or offer it to one."""
    return is_segment(name) or is_history(name) or is_backup_label(name) or is_partial(name)


def timeline_of(name: str) -> int:
    """The timeline a WAL file's name begins with."""
    if not is_wal_file(name):
        raise ValueError(f"not a WAL file name: {name!r}")
    return int(name[:8], 16)


def history_name(timeline: int) -> str:
    """The name of a timeline's history file."""
    return f"{timeline:08X}.history"
