"""The directory a stream receives into: what is complete, what is still being written.

pg_receivewal goes on behind the newest segment it finds there, so the newest complete one stays
until its successor has appeared, and one that is not archived yet stays in any case.
Source: PostgreSQL, src/bin/pg_basebackup/pg_receivewal.c (FindStreamingStart) and receivelog.c
(open_walfile).
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import Segment, is_history, is_partial, is_segment
from kb_dr.domain.wal_page import check_pages, written_length
from kb_dr.errors import ConfigurationError, WrongCluster

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
        self._system_identifier = system_identifier
        self._segment_bytes = segment_bytes
        self._seen: tuple[str, int, int] = ("", 0, 0)

    def complete(self) -> list[Path]:
        """Complete segments in the order they were written; empty when there are none."""
        found = [path for path in self.wal.iterdir() if is_segment(path.name)]
        return sorted(found, key=lambda path: self._order(path.name))

    def histories(self) -> list[Path]:
        """History files, oldest timeline first."""
        return sorted(path for path in self.wal.iterdir() if is_history(path.name))

    def unfinished(self) -> Path | None:
        """The segment being written, if it is newer than every complete one."""
        found = [path for path in self.wal.iterdir() if is_partial(path.name)]
        newest = max(found, key=lambda path: self._order(path.name), default=None)
        if newest is None:
            return None
        complete = self.complete()
        if complete and self._order(complete[-1].name) >= self._order(newest.name):
            return None
        return newest

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
            state = path.stat()
            # A file system's clock ticks a few times a second: two writes may bear one time.
            settled = time.time_ns() - state.st_mtime_ns > _SETTLED_NANOSECONDS
            if settled and (path.name, state.st_mtime_ns) == self._seen[:2]:
                return None
            if state.st_size != self._segment_bytes:
                return None  # it is being made
            length = written_length(path.read_bytes())
            if length == 0 or (path.name, length) == (self._seen[0], self._seen[2]):
                self._seen = (path.name, state.st_mtime_ns, length)
                return None
            # Read once more: its last byte was there, so by now all before it is. The first time
            # a page may have been passed over just before it was written.
            with path.open("rb") as stream:
                content = stream.read(length)
        except FileNotFoundError:
            return None  # completed, and renamed, in between
        segment = Segment.parse(path.name[:24], self._segment_bytes)
        whole = content.ljust(self._segment_bytes, b"\0")
        check_pages(segment.name, whole, system_identifier=self._system_identifier)
        self._seen = (path.name, state.st_mtime_ns, length)
        return Written(segment, segment.start.plus(length), content)

    def mend(self) -> None:
        """Make what a kill or a full disk left while a file was made fit to go on with.

        pg_receivewal refuses a ``.partial`` that has neither no bytes nor all of them. What was
        in it is sent again: a segment is always received from its start.
        """
        for path in self.wal.iterdir():
            if is_partial(path.name) and path.stat().st_size not in (0, self._segment_bytes):
                os.truncate(path, 0)

    def begin_at(self, segment: Segment) -> None:
        """Make the next start receive from this segment on; the spool must be empty."""
        (self.wal / f"{segment.name}.partial").touch(mode=0o600)

    def drop(self, path: Path) -> bool:
        """Remove a complete segment that is archived; False while it has no successor."""
        newest = max(
            (path for path in self.wal.iterdir() if is_segment(path.name) or is_partial(path.name)),
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

    def drop_left(self) -> None:
        """Remove unfinished segments of timelines that were left, once a newer one is complete."""
        complete = self.complete()
        if not complete:
            return
        for path in self.wal.iterdir():
            if is_partial(path.name) and self._order(path.name) < self._order(complete[-1].name):
                path.unlink(missing_ok=True)

    def segment(self, name: str) -> Segment:
        """The segment of a file's name."""
        return Segment.parse(name[:24], self._segment_bytes)

    def _order(self, name: str) -> tuple[int, int]:
        segment = self.segment(name)
        return segment.number, segment.timeline


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
