"""Find how far the archive of one copy lets recovery come."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kb_dr.domain.replay_line import timeline_of_segment
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_archive import WalArchive
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import WalReader, WalTip
from kb_dr.errors import WalGap
from kb_dr.operations.listed_wal import StoredWal, segments_along
from kb_dr.operations.partial_wal import StoredPartial, newest_partial, read_partial
from kb_dr.operations.read_wal import read_wal
from kb_dr.ports import Codec, Repository

MOST_SEGMENTS_BACK = 64
"""How far back the newest commit is looked for; the end itself never needs as many, unless one
record is longer."""


@dataclass(frozen=True, slots=True)
class ArchivedEnd:
    """The end of the last complete WAL record in a contiguous archive."""

    last: Segment
    """The last full segment of it."""
    partial: StoredPartial | None
    """What a stream shipped of the next one, if it did; the tip counts it."""
    tip: WalTip
    """The end, and the newest commit within the last 64 segments."""


def find_archived_end(
    repository: Repository,
    codec: Codec,
    *,
    system_identifier: int,
    archive: WalArchive,
    start: Segment,
    lineage: Lineage | None = None,
    known: Mapping[Segment, StoredWal] = MappingProxyType({}),
) -> ArchivedEnd:
    """Where recovery ends that replays this copy's WAL from ``start`` on, along ``lineage``.

    That may be inside a segment that a stream shipped while it was being written.
    ``archive`` is what read_archive() found in the same copy, ``known`` segments listed then.
    Raises WalGap when not even
    ``start`` stands, WalDamaged when the segments do not hold WAL up to their end,
    and what read_wal() raises.
    """
    last = archive.contiguous_end(start, lineage)
    if last is None:
        raise WalGap(
            f"find the end of WAL in {repository.url}: segment {start.name} is missing",
            hint="Recovery from this backup cannot begin; use another backup or copy.",
        )
    partial = _shipped_behind(repository, system_identifier, archive, start, last, lineage)
    count = 2
    while True:
        first = max(start.number, last.number - count + 1)
        from_segment = archive.segment_along(first, start, lineage)
        if from_segment is None:
            raise WalGap(f"find the end of WAL in {repository.url}: a segment went missing")
        reader = WalReader()
        for stored in segments_along(
            repository, system_identifier, archive, from_segment, last, lineage, known
        ):
            content = read_wal(
                repository,
                codec,
                stored.listed,
                stored.name,
                stored.sha256,
                system_identifier=system_identifier,
            )
            reader.feed(stored.name, content, system_identifier=system_identifier)
        if partial is not None:
            content = read_partial(repository, codec, partial)
            reader.feed(partial.segment, content, system_identifier=system_identifier)
        tip = reader.tip()
        if tip is not None and (tip.last_commit is not None or count >= MOST_SEGMENTS_BACK):
            return ArchivedEnd(last, partial, tip)
        if first == start.number:
            if tip is None:
                raise WalGap(f"find the end of WAL in {repository.url}: no complete record")
            return ArchivedEnd(last, partial, tip)
        count *= 4


def _shipped_behind(
    repository: Repository,
    system_identifier: int,
    archive: WalArchive,
    start: Segment,
    last: Segment,
    lineage: Lineage | None,
) -> StoredPartial | None:
    """What was shipped of the segment behind the last full one; None where a gap follows it."""
    number, size = last.number + 1, last.segment_bytes
    timeline = timeline_of_segment(lineage, number, size) if lineage else start.timeline
    stands = archive.timelines.get(timeline)
    if stands is not None and stands.runs and stands.runs[-1].last.number >= number:
        return None
    return newest_partial(repository, system_identifier, Segment(timeline, number, size).name)
