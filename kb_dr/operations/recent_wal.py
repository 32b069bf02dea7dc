"""The WAL of one cluster from some segment on, from as few listings as can be."""

from collections.abc import Iterator
from dataclasses import dataclass

from kb_dr.domain.layout import timeline_prefix, wal_prefix
from kb_dr.domain.stored import Listed
from kb_dr.domain.timelines import Lineage, parse_history
from kb_dr.domain.wal_archive import ArchiveListing, WalArchive
from kb_dr.domain.wal_names import Segment, is_history, is_segment, timeline_of
from kb_dr.errors import ObjectConflict
from kb_dr.operations.listed_wal import StoredWal, stored_wal
from kb_dr.operations.partial_wal import stored_partial
from kb_dr.operations.read_wal import read_wal
from kb_dr.ports import Codec, Repository

_HELD_SEGMENTS = 64
"""The newest segments of each timeline as listed: where the end of WAL is looked for."""


@dataclass(frozen=True, slots=True)
class RecentWal:
    """What stands of one cluster from some number of the WAL on, on every timeline."""

    archive: WalArchive
    lineages: dict[int, Lineage]
    """As load_lineages() gives them."""
    shipped: frozenset[int]
    """Timelines of which nothing stands there yet but what a stream shipped of a segment."""
    newest: dict[Segment, StoredWal]
    """The newest segments of each timeline; none that stands with two digests or zero bytes."""


def read_recent_wal(
    repository: Repository, codec: Codec, system_identifier: int, first: Segment
) -> RecentWal:
    """List it. Older segments are passed over, of whatever timeline; histories never are.

    Raises ObjectConflict when a history is stored with two digests, WalDamaged when one is none.
    """
    listing = ArchiveListing(first.segment_bytes)
    histories: dict[int, StoredWal] = {}
    whole: set[int] = set()
    shipped: set[int] = set()
    newest: dict[int, dict[Segment, StoredWal]] = {}
    for listed in _walk(repository, system_identifier, first):
        stored = stored_wal(listed)
        if stored is None:
            partial = stored_partial(listed)
            if partial is not None and partial.timeline not in whole:
                shipped.add(partial.timeline)
            continue
        timeline = timeline_of(stored.name)
        listing.add(stored.name, stored.sha256, listed.size_bytes)
        if is_history(stored.name):
            if timeline in histories:
                raise ObjectConflict(f"read {stored.name}: stored with two digests")
            histories[timeline] = stored
        elif is_segment(stored.name):
            if timeline not in shipped:
                whole.add(timeline)
            _hold(newest.setdefault(timeline, {}), stored, first.segment_bytes)
    lineages = {1: Lineage(1)}
    for timeline, stored in sorted(histories.items()):
        text = read_wal(repository, codec, stored.listed, stored.name, stored.sha256)
        lineages[timeline] = parse_history(timeline, text.decode("utf-8", "replace"))
    return RecentWal(
        archive=listing.finish(lineages.values()),
        lineages=lineages,
        shipped=frozenset(shipped),
        newest={segment: stored for each in newest.values() for segment, stored in each.items()},
    )


def _hold(held: dict[Segment, StoredWal], stored: StoredWal, segment_bytes: int) -> None:
    try:
        segment = Segment.parse(stored.name, segment_bytes)
    except ValueError:
        return  # the listing notes it
    if segment in held or stored.listed.size_bytes == 0:
        held.pop(segment, None)  # whoever needs it lists it again, and is told what is wrong
        return
    held[segment] = stored
    if len(held) > _HELD_SEGMENTS:
        del held[next(iter(held))]


def _walk(repository: Repository, system_identifier: int, first: Segment) -> Iterator[Listed]:
    """Every WAL object from ``first`` on, timeline by timeline, and every history.

    Within a timeline keys are ordered by segment, histories before all. So each is entered once,
    and what is older than ``first`` is jumped over by another listing. Timeline 1 has no history,
    and need not be entered.
    """
    prefix = wal_prefix(system_identifier)
    after = timeline_prefix(system_identifier, 1) + first.on(1).name
    while True:
        for listed in repository.list(prefix, start_after=after):
            stored, partial = stored_wal(listed), stored_partial(listed)
            name = stored.name if stored else partial.segment if partial else ""
            if not name:
                continue
            timeline = timeline_of(name)
            begin = first.on(timeline).name
            if name < begin and not is_history(name):
                after = timeline_prefix(system_identifier, timeline) + begin
                break
            yield listed
        else:
            return
