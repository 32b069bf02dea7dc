"""Keep and read which WAL a repository has let go of.

The record stands in that repository alone: what one copy let go of is a gap in any other.
"""

from __future__ import annotations

import secrets
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.purged_wal import PurgedStretch, PurgedWal, Stretches, covers, joined, without
from kb_dr.domain.wal_names import Segment, is_history, is_segment
from kb_dr.operations.catalog import walk_catalog
from kb_dr.operations.kept_records import keep_record, parse_kept, read_kept
from kb_dr.operations.needed_wal import needed_segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kb_dr.domain.retention import WalRange
    from kb_dr.ports import Clock, Repository

_READ = 3
"""Each record says all; two runs at once may each have left out what the other was adding."""


def load_purged_wal(repository: Repository, system_identifier: int) -> Stretches:
    """What this repository has let go of of one cluster; raises UnreadableRecord."""
    return joined(_ranges(_newest(repository, system_identifier)))


def excused_wal(repository: Repository, system_identifier: int) -> Stretches:
    """The same without what a backup that stands here needs: whatever was noted, that is a gap.

    A range that went may have had a hole in it already, and a backup may have been brought since.
    Raises what the repository raises.
    """
    purged = load_purged_wal(repository, system_identifier)
    if not purged:
        return purged
    return without(
        purged,
        (
            needed_segments(entry.manifest)
            for entry in walk_catalog(repository)
            if isinstance(entry, StoredManifest)
            and entry.manifest.source.system_identifier == system_identifier
        ),
    )


def purged_stretches(repository: Repository, system_identifier: int) -> tuple[PurgedStretch, ...]:
    """The same by name, for who does not know how long a segment is; raises UnreadableRecord."""
    return tuple(
        stretch for each in _newest(repository, system_identifier) for stretch in each.stretches
    )


def let_go_of_wal(repository: Repository, system_identifier: int) -> Callable[[str], bool]:
    """Whether this repository has let go of a WAL file of that name; never of a history. Raises
    UnreadableRecord.
    """
    purged = purged_stretches(repository, system_identifier)

    def is_over(name: str) -> bool:
        return not is_history(name) and any(each.first <= name[:24] <= each.last for each in purged)

    return is_over


def note_purged_wal(
    repository: Repository,
    clock: Clock,
    ranges: Iterable[WalRange],
    segment_bytes: Mapping[int, int],
) -> None:
    """Write down that these ranges go, before any of it does. Raises what the repository raises."""
    by_cluster: dict[int, list[tuple[Segment, Segment]]] = {}
    for each in ranges:
        size = segment_bytes[each.system_identifier]
        by_cluster.setdefault(each.system_identifier, []).append(
            (Segment.parse(each.first[:24], size), Segment.parse(each.last[:24], size))
        )
    for system, going in by_cluster.items():
        known = _newest(repository, system)
        before = joined(_ranges(known))
        after = joined([*_ranges(known), *going])
        if before != after:
            _keep(repository, clock.now(), system, segment_bytes[system], after, known)


def inherit_purged_wal(source: Repository, target: Repository, system_identifier: int) -> None:
    """Note in a copy what ``source`` let go of before it could be brought there.

    Only stretches of which nothing at all stands in ``target``: what was brought once and is
    missing now is a gap.
    """
    theirs = _newest(source, system_identifier)
    if not theirs:
        return
    size, known = theirs[-1].segment_bytes, _newest(target, system_identifier)
    own = joined(_ranges(known))
    absent = [
        (Segment(timeline, first, size), Segment(timeline, last, size))
        for timeline, ranges in joined(_ranges(theirs)).items()
        for first, last in ranges
        if not covers(own, timeline, first, last)
        and _nothing_stands(target, system_identifier, timeline, first, last, size)
    ]
    if absent:
        after = joined([*_ranges(known), *absent])
        _keep(target, theirs[-1].at, system_identifier, size, after, known)


def _nothing_stands(
    repository: Repository, system: int, timeline: int, first: int, last: int, size: int
) -> bool:
    prefix = layout.timeline_prefix(system, timeline)
    end = Segment(timeline, last, size).name
    for listed in repository.list(prefix, start_after=prefix + Segment(timeline, first, size).name):
        parts = layout.wal_file_of(listed.key)
        if parts is not None and is_segment(parts[1]):
            return parts[1] > end
    return True


def _keep(
    repository: Repository,
    now: datetime,
    system: int,
    segment_bytes: int,
    stretches: Stretches,
    known: Sequence[PurgedWal],
) -> None:
    now = now.astimezone(UTC)
    if known:
        now = max(now, known[-1].at + timedelta(seconds=1))  # the newest by its name, too

    def name(timeline: int, number: int) -> str:
        return Segment(timeline, number, segment_bytes).name

    record = PurgedWal(
        schema_version=records.SCHEMA_VERSION,
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        system_identifier=system,
        segment_bytes=segment_bytes,
        at=now,
        host=socket.gethostname(),
        stretches=tuple(
            PurgedStretch(name(timeline, first), name(timeline, last))
            for timeline, ranges in sorted(stretches.items())
            for first, last in ranges
        ),
    )
    keep_record((repository,), _key(record), record)


def _newest(repository: Repository, system: int) -> list[PurgedWal]:
    keys = [each.key for each in repository.list(layout.purged_wal_prefix(system))][-_READ:]
    found = []
    for key in keys:
        if (body := read_kept(repository, key)) is not None:
            found.append(parse_kept(repository, key, body, PurgedWal, _key))
    return found


def _ranges(found: Iterable[PurgedWal]) -> Iterator[tuple[Segment, Segment]]:
    for record in found:
        for each in record.stretches:
            size = record.segment_bytes
            yield Segment.parse(each.first, size), Segment.parse(each.last, size)


def _key(record: PurgedWal) -> str:
    return layout.purged_wal_key(record.system_identifier, record.id)
