"""Find how far the archive of one copy lets recovery come."""

from dataclasses import dataclass

from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_archive import WalArchive
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import WalReader, WalTip
from kb_dr.errors import WalGap
from kb_dr.operations.listed_wal import segments_along
from kb_dr.operations.read_wal import read_wal
from kb_dr.ports import Codec, Repository

MOST_SEGMENTS_BACK = 64
"""How far back the newest commit is looked for; the end itself never needs as many, unless one
record is longer."""


@dataclass(frozen=True, slots=True)
class ArchivedEnd:
    """The end of the last complete WAL record in a contiguous archive."""

    last: Segment
    """The last segment of it."""
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
) -> ArchivedEnd:
    """Where recovery ends that replays this copy's WAL from ``start`` on, along ``lineage``.

    ``archive`` is what read_archive() found in the same copy. Raises WalGap when not even
    ``start`` stands, WalDamaged when the segments do not hold WAL up to their end,
    and what read_wal() raises.
    """
    last = archive.contiguous_end(start, lineage)
    if last is None:
        raise WalGap(
            f"find the end of WAL in {repository.url}: segment {start.name} is missing",
            hint="Recovery from this backup cannot begin; use another backup or copy.",
        )
    count = 2
    while True:
        first = max(start.number, last.number - count + 1)
        from_segment = archive.segment_along(first, start, lineage)
        if from_segment is None:
            raise WalGap(f"find the end of WAL in {repository.url}: a segment went missing")
        reader = WalReader()
        for stored in segments_along(
            repository, system_identifier, archive, from_segment, last, lineage
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
        tip = reader.tip()
        if tip is not None and (tip.last_commit is not None or count >= MOST_SEGMENTS_BACK):
            return ArchivedEnd(last, tip)
        if first == start.number:
            if tip is None:
                raise WalGap(f"find the end of WAL in {repository.url}: no complete record")
            return ArchivedEnd(last, tip)
        count *= 4
