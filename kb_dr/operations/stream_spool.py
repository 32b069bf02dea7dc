"""The directory a stream receives into: what is complete, what is still being written.

pg_receivewal goes on behind the newest segment it finds there, so the newest complete one stays
until its successor has appeared, and one that is not archived yet stays in any case.
Source: PostgreSQL, src/bin/pg_basebackup/pg_receivewal.c (FindStreamingStart) and receivelog.c
(open_walfile).
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import (
    DEFAULT_SEGMENT_BYTES,
    Segment,
    is_history,
    is_partial,
    is_segment,
)
from kb_dr.domain.wal_page import (
    LONG_HEADER_BYTES,
    check_pages,
    read_segment_header,
    written_length,
)
from kb_dr.errors import ConfigurationError, WalDamaged, WrongCluster

_OWN_ONLY = os.O_NOFOLLOW | os.O_NONBLOCK
_SETTLED_NANOSECONDS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Written:
    """How far a segment that is still being written has come."""

    segment: Segment
    upto: Lsn
    content: bytes
    """Its first bytes, up to there."""


class StreamSpool:
    """What was received of one cluster through one slot; used by one process at a time."""

    def __init__(self, directory: Path, system_identifier: int, segment_bytes: int) -> None:
        self.wal = directory / "wal"
        self.system_identifier = system_identifier
        self._segment_bytes = segment_bytes
        self._seen: tuple[str, int, int] = ("", 0, 0)

    def complete(self) -> list[Path]:
        """Complete segments in the order they were written; empty when there are none."""
        found = [path for path in self._files() if is_segment(path.name)]
        return sorted(found, key=lambda path: self._order(path.name))

    def histories(self) -> list[Path]:
        """History files, oldest timeline first."""
        return sorted(path for path in self._files() if is_history(path.name))

    def partials(self) -> list[Path]:
        """Unfinished segments, of timelines that were left as well, in order."""
        found = [path for path in self._files() if is_partial(path.name)]
        return sorted(found, key=lambda path: self._order(path.name))

    def unfinished(self) -> Path | None:
        """The segment being written, if it is newer than every complete one."""
        partials, complete = self.partials(), self.complete()
        if not partials:
            return None
        if complete and self._order(complete[-1].name) >= self._order(partials[-1].name):
            return None
        return partials[-1]

    def following(self) -> Segment | None:
        """The segment that the next start receives from; None: nothing says it."""
        path, complete = self.unfinished(), self.complete()
        if path is not None:
            return self.segment(path.name)
        return self.segment(complete[-1].name).next() if complete else None

    def received(self) -> tuple[int, Lsn] | None:
        """The timeline and position up to which WAL was received; None: there is none here.

        Nothing may be received meanwhile.
        """
        following, path = self.following(), self.unfinished()
        if following is None:
            return None
        length = written_length(_read(path)) if path is not None else 0
        return following.timeline, following.start.plus(length)

    def state(self) -> frozenset[object]:
        """Has something that it had not when something was received in between.

        By names and contents: a receiver touches the file it goes on with, also in vain. Nothing
        may be received meanwhile.
        """
        return frozenset({*(path.name for path in self._files()), self.received()})

    @property
    def empty(self) -> bool:
        """Whether nothing says where to go on."""
        return not self.complete() and self.unfinished() is None

    def grown(self) -> Written | None:
        """The segment being written, if there is more of it than at the last call.

        Raises WalDamaged or WrongCluster when its pages are not WAL of that segment and cluster.
        """
        path = self.unfinished()
        if path is None:
            return None
        try:
            state = path.stat(follow_symlinks=False)
            # A file system's clock ticks a few times a second: two writes may bear one time.
            settled = time.time_ns() - state.st_mtime_ns > _SETTLED_NANOSECONDS
            if settled and (path.name, state.st_mtime_ns) == self._seen[:2]:
                return None
            if state.st_size != self._segment_bytes:
                return None  # it is being made
            length = written_length(_read(path))
            if length == 0 or (path.name, length) == (self._seen[0], self._seen[2]):
                self._seen = (path.name, state.st_mtime_ns, length)
                return None
            # Read once more: its last byte was there, so by now all before it is. The first time
            # a page may have been passed over just before it was written.
            content = _read(path, length)
        except FileNotFoundError:
            return None  # completed, and renamed, in between
        written = self._checked(path, content)
        self._seen = (path.name, state.st_mtime_ns, length)
        return written

    def written(self, path: Path) -> Written | None:
        """What an unfinished segment holds while nothing is received; None: nothing.

        Raises as grown() does, and WalDamaged when the file was cut short.
        """
        content = _read(path)
        length = written_length(content)
        if length == 0:
            return None
        if len(content) != self._segment_bytes:
            raise WalDamaged(
                f"read {path}: {len(content)} bytes, expected {self._segment_bytes}",
                hint="A full disk or a crash cut it short; what is left of it stays there.",
            )
        return self._checked(path, content[:length])

    def _checked(self, path: Path, content: bytes) -> Written:
        segment = self.segment(path.name)
        whole = content.ljust(self._segment_bytes, b"\0")
        check_pages(segment.name, whole, system_identifier=self.system_identifier)
        return Written(segment, segment.start.plus(len(content)), content)

    def mend(self) -> None:
        """Make what a kill or a full disk left while a file was made fit to go on with.

        pg_receivewal refuses a ``.partial`` that has neither no bytes nor all of them. What was
        in it is sent again: a segment is always received from its start.
        """
        for path in self.partials():
            with _open(path, "r+b") as file:
                if os.fstat(file.fileno()).st_size not in (0, self._segment_bytes):
                    os.ftruncate(file.fileno(), 0)

    def begin_at(self, segment: Segment) -> None:
        """Make the next start receive from this segment on; the spool must be empty."""
        (self.wal / f"{segment.name}.partial").touch(mode=0o600)

    def drop(self, path: Path) -> bool:
        """Remove a complete segment that is archived; False while it has no successor."""
        newest = max(
            (path for path in self._files() if is_segment(path.name) or is_partial(path.name)),
            key=lambda each: self._order(each.name),
            default=path,
        )
        if self._order(newest.name) <= self._order(path.name):
            return False
        path.unlink(missing_ok=True)
        return True

    def forget(self) -> None:
        """Remove everything: the next start begins anew."""
        for path in self.wal.iterdir():
            path.unlink()
        self._seen = ("", 0, 0)

    def set_aside(self, stamp: str) -> Path:
        """Keep everything under another name: the next start begins anew."""
        aside = self.wal.with_name(f"wal.before-{stamp}")
        self.wal.rename(aside)
        self.wal.mkdir(mode=0o700)
        self._seen = ("", 0, 0)
        return aside

    def drop_left(self) -> None:
        """Remove unfinished segments of timelines that were left, once a newer one is complete."""
        complete = self.complete()
        if not complete:
            return
        for path in self.partials():
            if self._order(path.name) < self._order(complete[-1].name):
                path.unlink(missing_ok=True)

    def segment(self, name: str) -> Segment:
        """The segment of a file's name."""
        return Segment.parse(name[:24], self._segment_bytes)

    def _files(self) -> list[Path]:
        """What stands here. Raises ConfigurationError for anything but a file of its own: the
        user PostgreSQL's programs run as may write here, and we may be root.
        """
        found = []
        for path in self.wal.iterdir():
            try:
                _require_own(path, path.lstat())
            except FileNotFoundError:
                continue  # renamed in between
            found.append(path)
        return found

    def _order(self, name: str) -> tuple[int, int]:
        segment = self.segment(name)
        return segment.number, segment.timeline


def _require_own(path: Path, seen: os.stat_result) -> None:
    if not stat.S_ISREG(seen.st_mode) or seen.st_nlink > 1:
        raise ConfigurationError(
            f"stream WAL into {path.parent}: {path.name} is a link or no file",
            hint="Only pg_receivewal writes there: find out who put it there, then remove it.",
        )


def _open(path: Path, mode: str) -> IO[bytes]:
    """Open a file of the spool; no link is followed, and nothing waited for."""
    _require_own(path, path.lstat())
    return open(path, mode, opener=lambda name, how: os.open(name, how | _OWN_ONLY))


def _read(path: Path, length: int = -1) -> bytes:
    with _open(path, "rb") as file:
        return file.read(length)


@contextmanager
def bound_spool(directory: Path) -> Iterator[StreamSpool]:
    """The spool in ``directory`` as a stream left it; raises as open_spool() does, and
    ConfigurationError when there is none.
    """
    note = directory / "cluster"
    known = note.read_text().strip() if note.exists() else ""
    if not known.isdecimal():
        raise ConfigurationError(
            f"flush what was streamed into {directory}: nothing was ever streamed there",
            hint="KB_DR_STATE_DIR and the slot (--slot, KB_DR_STREAM_SLOT) say where.",
        )
    with open_spool(directory, int(known), _segment_bytes(directory / "wal")) as spool:
        yield spool


def _segment_bytes(wal: Path) -> int:
    """What the files themselves say; where none does, there is nothing to ship either."""
    for path in sorted(wal.glob("*")):
        if is_segment(path.name) or is_partial(path.name):
            try:
                head = _read(path, LONG_HEADER_BYTES)
                return read_segment_header(head, name=path.name).segment_bytes
            except WalDamaged:
                continue
    return DEFAULT_SEGMENT_BYTES


@contextmanager
def open_spool(
    directory: Path, system_identifier: int, segment_bytes: int
) -> Iterator[StreamSpool]:
    """The spool in ``directory``, made if need be, and nobody else's while the block runs.

    Raises ConfigurationError while another process uses it, WrongCluster when it holds WAL of
    another cluster.
    """
    # Entered, not read, by the user PostgreSQL's programs run as.
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"stream WAL into {directory}: another kb-dr does so already",
                hint="One stream a slot is enough; end the other one first, or give --slot.",
            ) from error
        _bind(directory, system_identifier)
        (directory / "wal").mkdir(mode=0o700, exist_ok=True)
        yield StreamSpool(directory, system_identifier, segment_bytes)


def _bind(directory: Path, system_identifier: int) -> None:
    """Write down, or hold against what was written, which cluster this is of."""
    note = directory / "cluster"
    known = note.read_text().strip() if note.exists() else ""
    if not known:
        unfinished = directory / ".cluster"
        unfinished.write_text(f"{system_identifier}\n")
        os.replace(unfinished, note)
    elif known != str(system_identifier):
        raise WrongCluster(
            f"stream WAL: the server is cluster {system_identifier}, expected {known}, which was "
            f"streamed into {directory}",
            hint="Check KB_DB_HOST. If the server was replaced by another cluster on purpose: see "
            "that nothing in that directory is still wanted, remove it, start the stream again, "
            "and take a full backup.",
        )
