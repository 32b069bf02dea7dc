"""Keep and read which WAL a repository has let go of.

The record stands in that repository alone: what one copy let go of is a gap in any other.
"""

import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.purged_wal import PurgedStretch, PurgedWal, Stretches, joined
from kb_dr.domain.retention import WalRange
from kb_dr.domain.wal_names import Segment
from kb_dr.operations.kept_records import keep_record, parse_kept, read_kept
from kb_dr.ports import Clock, Repository

_READ = 3
"""Each record says all; two runs at once may each have left out what the other was adding."""


def load_purged_wal(repository: Repository, system_identifier: int) -> Stretches:
    """What this repository has let go of of one cluster; raises UnreadableRecord."""
    return joined(_ranges(_newest(repository, system_identifier)))


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
            _keep(repository, clock, system, segment_bytes[system], after, known)


def _keep(
    repository: Repository,
    clock: Clock,
    system: int,
    segment_bytes: int,
    stretches: Stretches,
    known: Sequence[PurgedWal],
) -> None:
    now = clock.now().astimezone(UTC)
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
