"""Audit a WAL archive: what is missing from it, and what stands in it but cannot be used."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from kb_dr.domain.layout import partial_of, wal_file_of
from kb_dr.domain.timelines import Lineage, parse_history
from kb_dr.domain.wal_archive import ArchiveListing, WalArchive, WalProblemKind
from kb_dr.domain.wal_names import Segment, is_history, is_partial, is_segment, timeline_of
from kb_dr.domain.wal_page import check_pages, check_segment, read_segment_header
from kb_dr.domain.wal_records import WalReader
from kb_dr.errors import ChecksumMismatch, ObjectMissing, WalDamaged, WrongCluster
from kb_dr.operations.listed_wal import StoredWal, list_wal, require_marker
from kb_dr.operations.purged_wal import excused_wal
from kb_dr.ports import Codec, Progress, Repository

T = TypeVar("T")
R = TypeVar("R")

LEAST_STORED_BYTES = 200
"""An age file with one recipient is never smaller: header, nonce and one tag.
Source: C2SP, age-encryption.org/v1."""


@dataclass(frozen=True, slots=True)
class WalAudit:
    """What was found in the archive of one cluster."""

    system_identifier: int
    segment_bytes: int
    archive: WalArchive
    deep: bool
    """Whether every file was read and checked, or only listed."""
    read_files: int

    @property
    def passed(self) -> bool:
        """Whether something stands and nothing is wrong."""
        return self.archive.segments > 0 and not self.archive.problems


def clusters_present(repository: Repository) -> list[int]:
    """The system identifiers that WAL is stored of."""
    found: list[int] = []
    after = ""
    while (listed := next(iter(repository.list("wal/", start_after=after)), None)) is not None:
        parts = wal_file_of(listed.key) or partial_of(listed.key)
        if parts is None:
            after = listed.key
            continue
        found.append(parts[0])
        # "0" is the byte after "/": all that is under this cluster is passed over.
        after = f"wal/{parts[0]}0"
    return found


def stored_segment_bytes(repository: Repository, codec: Codec, system_identifier: int) -> int:
    """The size of this cluster's segments, from the header of the first one that can be read.

    Raises KeyMissing without an identity, WalDamaged when no segment has a usable header.
    """
    for stored in list_wal(repository, system_identifier):
        if not is_segment(stored.name):
            continue
        try:
            plain = codec.decode(repository.read(stored.key))
            return read_segment_header(plain[:40], name=stored.name).segment_bytes
        except (WalDamaged, ChecksumMismatch):
            continue  # the audit itself will name it
    raise WalDamaged(f"audit WAL of cluster {system_identifier}: no segment with a usable header")


def audit_wal(
    repository: Repository,
    *,
    system_identifier: int,
    segment_bytes: int,
    codec: Codec | None = None,
    deep: bool = False,
    progress: Progress | None = None,
    transfers: int = 4,
) -> WalAudit:
    """Walk the archive of one cluster, in memory that does not grow with it.

    With ``codec`` the histories are read and branches checked; ``deep`` reads every file too and
    follows the WAL record by record. Problems are reported, not raised; raises KeyMissing when
    nothing can be decoded, WrongRepository and other RepositoryErrors when it cannot be listed.
    """
    require_marker(repository)
    listing = ArchiveListing(segment_bytes, purged=excused_wal(repository, system_identifier))
    listed = _noting(list_wal(repository, system_identifier), listing)
    lineages: list[Lineage] = []
    read_files = 0
    if codec is None:
        deque(listed, maxlen=0)
    else:
        checker = _Checker(repository, codec, listing, system_identifier, segment_bytes)
        wanted = (stored for stored in listed if deep or is_history(stored.name))
        if progress:
            progress.begin("audit WAL")
        for stored, content in _ahead(checker.read, wanted, transfers):
            read_files += 1
            lineage = checker.check(stored, content)
            if lineage is not None:
                lineages.append(lineage)
            if progress:
                progress.advance(stored.listed.size_bytes)
        if progress:
            progress.end()
    archive = listing.finish(lineages)
    return WalAudit(system_identifier, segment_bytes, archive, deep, read_files)


def _noting(found: Iterable[StoredWal], listing: ArchiveListing) -> Iterator[StoredWal]:
    for stored in found:
        size = stored.listed.size_bytes
        listing.add(stored.name, stored.sha256, size)
        if 0 < size < LEAST_STORED_BYTES:
            listing.report(
                WalProblemKind.TRUNCATED, stored.name, f"the stored object has {size} bytes"
            )
        elif size:
            yield stored


class _Checker:
    """Reads files and holds them against their names, one after the other."""

    def __init__(
        self,
        repository: Repository,
        codec: Codec,
        listing: ArchiveListing,
        system_identifier: int,
        segment_bytes: int,
    ) -> None:
        self._repository = repository
        self._codec = codec
        self._listing = listing
        self._system_identifier = system_identifier
        self._segment_bytes = segment_bytes
        self._reader = WalReader()
        self._next: Segment | None = None

    def read(self, stored: StoredWal) -> bytes | str:
        """The plain bytes, or what is wrong with what is stored. Called from many threads."""
        try:
            plain = self._codec.decode(self._repository.read(stored.key))
        except (ChecksumMismatch, ObjectMissing) as error:
            return str(error)
        seen = hashlib.sha256(plain).hexdigest()
        if seen != stored.sha256:
            return f"its bytes have sha256 {seen[:12]}, its key says {stored.sha256[:12]}"
        return plain

    def check(self, stored: StoredWal, content: bytes | str) -> Lineage | None:
        """Report what is wrong; return the history if it is one."""
        name = stored.name
        if isinstance(content, str):
            self._listing.report(WalProblemKind.DAMAGED, name, content)
            return None
        if not content:
            self._listing.report(WalProblemKind.ZERO_BYTES, name, "nothing is in it")
            return None
        try:
            if is_history(name):
                return parse_history(timeline_of(name), content.decode("utf-8", "replace"))
            if is_segment(name):
                self._check_segment(name, content)
            elif is_partial(name):
                check_segment(
                    name, content, len(content), system_identifier=self._system_identifier
                )
        except WrongCluster as error:
            self._listing.report(WalProblemKind.FOREIGN, name, str(error))
        except WalDamaged as error:
            self._listing.report(WalProblemKind.DAMAGED, name, str(error))
        return None

    def _check_segment(self, name: str, content: bytes) -> None:
        if len(content) < self._segment_bytes:
            self._listing.report(
                WalProblemKind.TRUNCATED,
                name,
                f"{len(content)} bytes, expected {self._segment_bytes}",
            )
            return
        check_pages(name, content, system_identifier=self._system_identifier)
        segment = Segment.parse(name, self._segment_bytes)
        if segment != self._next:
            self._reader = WalReader()
        elif self._reader.ended:
            tip = self._reader.tip()
            where = f"at {tip.end}" if tip else "where nothing begins"
            self._listing.report(
                WalProblemKind.DAMAGED,
                Segment(segment.timeline, segment.number - 1, segment.segment_bytes).name,
                f"its WAL ends {where}, recovery would stop there, but {name} follows",
            )
            self._reader = WalReader()
        self._next = None  # after damage the next segment starts afresh
        self._reader.feed(name, content, system_identifier=self._system_identifier)
        self._next = segment.next()


def _ahead(work: Callable[[T], R], items: Iterable[T], transfers: int) -> Iterator[tuple[T, R]]:
    """``work`` of each item, in order, a few at once and never more than a few held."""
    with ThreadPoolExecutor(transfers) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= transfers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
