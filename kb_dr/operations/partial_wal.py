"""Segments that were still being written when a stream shipped them: found, and read whole.

What is stored ends where WAL ended; the zeros up to the segment's size are put back on reading.
"""

from dataclasses import dataclass

from kb_dr.domain.layout import partial_of, partials_prefix, wal_prefix
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import Segment, is_segment, timeline_of
from kb_dr.domain.wal_page import LONG_HEADER_BYTES, check_pages, read_segment_header
from kb_dr.errors import (
    ChecksumMismatch,
    ObjectMissing,
    RepositoryError,
    UnreadableRecord,
    WalDamaged,
    WalGap,
)
from kb_dr.operations.listed_wal import find_wal, stored_wal
from kb_dr.operations.read_wal import read_wal
from kb_dr.ports import Codec, Repository


@dataclass(frozen=True, slots=True)
class StoredPartial:
    """One state of an unfinished segment, as a repository lists it."""

    system_identifier: int
    segment: str
    upto: Lsn
    """Where WAL ended when it was shipped: a record that ends there is in it."""
    listed: Listed

    @property
    def key(self) -> str:
        """Where it stands."""
        return self.listed.key

    @property
    def timeline(self) -> int:
        """The timeline of the segment."""
        return timeline_of(self.segment)


def stored_partial(listed: Listed) -> StoredPartial | None:
    """What a listed object is; None when no stream shipped it."""
    parts = partial_of(listed.key)
    return StoredPartial(*parts, listed) if parts else None


def newest_partial(
    repository: Repository, system_identifier: int, segment: str
) -> StoredPartial | None:
    """The farthest state of one segment; also where the full segment stands by now."""
    newest: StoredPartial | None = None
    for listed in repository.list(partials_prefix(system_identifier, segment)):
        newest = stored_partial(listed) or newest  # keys sort by LSN
    return newest


def open_partials(
    repository: Repository, system_identifier: int, *, since: str = ""
) -> tuple[StoredPartial, ...]:
    """Of each timeline the newest state of its last segment, where that is not archived in full.

    ``since`` is a key to begin after; without it the whole archive is listed.
    """
    last: dict[int, str] = {}
    found: dict[int, StoredPartial] = {}
    for listed in repository.list(wal_prefix(system_identifier), start_after=since):
        partial = stored_partial(listed)
        if partial is not None:
            # A full segment sorts before what was shipped of it.
            if last.get(partial.timeline) != partial.segment:
                found[partial.timeline] = partial
            continue
        stored = stored_wal(listed)
        if stored is not None and is_segment(stored.name):
            last[timeline_of(stored.name)] = stored.name
            found.pop(timeline_of(stored.name), None)
    return tuple(found[timeline] for timeline in sorted(found))


def read_partial(repository: Repository, codec: Codec, stored: StoredPartial) -> bytes:
    """A whole segment: what was shipped, and zeros behind it.

    Every page header is checked, and that it ends where its key says. Raises ChecksumMismatch,
    WalDamaged or WrongCluster when it is not that; RepositoryError when it was listed but is gone.
    """
    where = f"read partial segment {stored.segment} up to {stored.upto} of {repository.url}"
    try:
        coded = repository.read(stored.key)
    except ObjectMissing as error:
        raise RepositoryError(f"{where}: it was listed, then it was gone") from error
    hint = f"Restore from another copy; or remove {stored.key}: what was shipped before it serves."
    try:
        plain = codec.decode(coded)
    except ChecksumMismatch as error:
        raise ChecksumMismatch(f"{where}: {error}", hint=hint) from error
    header = read_segment_header(plain[:LONG_HEADER_BYTES], name=f"{stored.segment}.partial")
    length = stored.upto - header.address
    if len(plain) != length or length > header.segment_bytes:
        raise WalDamaged(f"{where}: {len(plain)} bytes, expected {length}", hint=hint)
    whole = plain.ljust(header.segment_bytes, b"\0")
    check_pages(stored.segment, whole, system_identifier=stored.system_identifier)
    return whole


def read_planned_partial(repository: Repository, codec: Codec, key: str) -> bytes:
    """What read_partial() gives for this key, also when something better has taken its place.

    A farther state, or the full segment, holds the same bytes up to there; what follows is made
    zeros again, so that replay comes to where it was expected to come, and no farther. Raises
    WalGap when none of them stands any more, else as read_partial() and read_wal().
    """
    parts = partial_of(key)
    if parts is None:
        raise UnreadableRecord(f"read {key} of {repository.url}: not the key of a partial segment")
    system_identifier, segment, upto = parts
    listed = repository.find(key)
    if listed is not None:
        return read_partial(
            repository, codec, StoredPartial(system_identifier, segment, upto, listed)
        )
    content = _later(repository, codec, system_identifier, segment, upto)
    if content is None:
        raise WalGap(
            f"read partial segment {segment} up to {upto} of {repository.url}: it is no longer "
            "there, nor is what should have taken its place",
            hint="Find out what removes WAL from this copy; restore from another one.",
        )
    size = len(content)
    return content[: upto - Segment.parse(segment, size).start].ljust(size, b"\0")


def _later(
    repository: Repository, codec: Codec, system_identifier: int, segment: str, upto: Lsn
) -> bytes | None:
    full = find_wal(repository, system_identifier, segment)
    if full is not None:
        return read_wal(
            repository,
            codec,
            full.listed,
            segment,
            full.sha256,
            system_identifier=system_identifier,
        )
    newest = newest_partial(repository, system_identifier, segment)
    if newest is None or newest.upto < upto:
        return None
    return read_partial(repository, codec, newest)
