"""Find stored WAL: one file by its name, a range of segments, the histories, the whole archive."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kb_dr.domain.layout import (
    MARKER,
    partial_of,
    timeline_prefix,
    wal_file_of,
    wal_file_prefix,
    wal_prefix,
)
from kb_dr.domain.stored import Listed
from kb_dr.domain.timelines import Lineage, parse_history
from kb_dr.domain.wal_archive import ArchiveListing, WalArchive
from kb_dr.domain.wal_names import Segment, is_history, is_segment, timeline_of
from kb_dr.errors import ChecksumMismatch, ObjectConflict, WalGap, WrongRepository
from kb_dr.operations.read_wal import read_wal
from kb_dr.ports import Codec, Repository

_LISTED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class StoredWal:
    """One WAL file as a repository lists it."""

    system_identifier: int
    name: str
    sha256: str
    """Of the plain bytes, from its key."""
    listed: Listed

    @property
    def key(self) -> str:
        """Where it stands."""
        return self.listed.key


def find_wal(
    repository: Repository, system_identifier: int, name: str, *, certainly: bool = True
) -> StoredWal | None:
    """The stored object of one WAL file; None only when certainly absent.

    Not ``certainly``: also None where the whole place is missing, for who is about to write there,
    and will be told.

    Raises ObjectConflict when it stands with two digests, RepositoryError when the store
    cannot answer, ChecksumMismatch when the object is empty.
    """
    prefix = wal_file_prefix(system_identifier, name)
    found = [
        stored
        for listed in repository.list(prefix)
        if (stored := stored_wal(listed)) is not None and stored.name == name
    ]
    if len({stored.sha256 for stored in found}) > 1:
        digests = ", ".join(stored.sha256[:12] for stored in found)
        raise ObjectConflict(
            f"find WAL file {name} in {repository.url}: {len(found)} digests ({digests})",
            hint="Two servers wrote it: find out which one was promoted wrongly, and use a "
            "repository (KB_DR_ORG) of its own for each before you restore.",
        )
    if not found:
        # An empty answer from a place that is not there must not pass for "no such segment".
        if certainly:
            repository.check()
        return None
    if found[0].listed.size_bytes == 0:
        raise ChecksumMismatch(
            f"find WAL file {name} in {repository.url}: the object has zero bytes",
        )
    return found[0]


def require_marker(repository: Repository) -> None:
    """Raise WrongRepository where no repository is: an empty mount point or a mistyped prefix
    would else swallow WAL, or say "no such segment" of all of it.
    """
    if repository.find(MARKER) is None:
        raise WrongRepository(
            f"open {repository.name} ({repository.url}): no {MARKER} here",
            hint="Check URL, bucket and prefix, and that it is mounted; `kb-dr init` makes a new "
            "repository.",
        )


def list_wal(
    repository: Repository, system_identifier: int, *, timeline: int | None = None
) -> Iterator[StoredWal]:
    """Every WAL file of one cluster (and timeline), in order of key, in bounded memory."""
    if timeline is None:
        prefix = wal_prefix(system_identifier)
    else:
        prefix = timeline_prefix(system_identifier, timeline)
    for listed in repository.list(prefix):
        if (stored := stored_wal(listed)) is not None:
            yield stored


def segments_between(
    repository: Repository, system_identifier: int, first: Segment, last: Segment
) -> list[StoredWal]:
    """The stored segments from ``first`` to ``last`` of one timeline, both included.

    Raises WalGap, which names the first ones missing, when not all of them stand;
    ObjectConflict and ChecksumMismatch as find_wal() does.
    """
    found: dict[str, StoredWal] = {}
    prefix = timeline_prefix(system_identifier, first.timeline)
    for listed in repository.list(prefix, start_after=prefix + first.name):
        stored = stored_wal(listed)
        if stored is None or not is_segment(stored.name):
            continue
        if stored.name > last.name:
            break
        if stored.sha256 != found.get(stored.name, stored).sha256:
            raise ObjectConflict(f"list WAL of {repository.url}: {stored.name} has two digests")
        if listed.size_bytes == 0:
            raise ChecksumMismatch(f"list WAL of {repository.url}: {stored.name} is empty")
        found[stored.name] = stored
    wanted = [
        Segment(first.timeline, number, first.segment_bytes).name
        for number in range(first.number, last.number + 1)
    ]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise WalGap(
            f"find WAL from {first.name} to {last.name} in {repository.url}: "
            f"{len(missing)} of {len(wanted)} segments missing, the first is {missing[0]}",
            hint="Restore from another copy, or to a point before the gap.",
        )
    return [found[name] for name in wanted]


def segments_along(
    repository: Repository,
    system_identifier: int,
    archive: WalArchive,
    start: Segment,
    last: Segment,
    lineage: Lineage | None = None,
    known: Mapping[Segment, StoredWal] = MappingProxyType({}),
) -> Iterator[StoredWal]:
    """The stored segments that replay reads from ``start`` to ``last``, in its order.

    ``archive`` is what read_archive() found; raises WalGap where a segment stands no more. What
    is ``known`` from a listing is not listed again.
    """
    number = start.number
    while number <= last.number:
        first = archive.segment_along(number, start, lineage)
        if first is None:
            raise WalGap(f"read WAL of {repository.url}: segment number {number:X} is missing")
        end = first
        while end.number < min(last.number, number + _LISTED_AT_ONCE) and (
            archive.segment_along(end.number + 1, start, lineage) == end.next()
        ):
            end = end.next()
        wanted = [first.at(each) for each in range(number, end.number + 1)]
        if all(each in known for each in wanted):
            yield from (known[each] for each in wanted)
        else:
            yield from segments_between(repository, system_identifier, first, end)
        number = end.number + 1


def load_lineages(
    repository: Repository, codec: Codec, system_identifier: int
) -> dict[int, Lineage]:
    """Every timeline's history that is stored, by timeline; timeline 1 has none and needs none.

    Raises ObjectConflict when one is stored with two digests, WalDamaged when one is no history.
    """
    lineages = {1: Lineage(1)}
    for timeline in timelines_present(repository, system_identifier):
        prefix = timeline_prefix(system_identifier, timeline)
        seen: set[str] = set()
        for listed in repository.list(f"{prefix}{timeline:08X}.history-"):
            stored = stored_wal(listed)
            if stored is None or not is_history(stored.name):
                continue
            if seen:
                raise ObjectConflict(f"read {stored.name}: stored with two digests")
            seen.add(stored.sha256)
            text = read_wal(repository, codec, stored.listed, stored.name, stored.sha256)
            lineages[timeline] = parse_history(timeline, text.decode("utf-8", "replace"))
    return lineages


def timelines_present(repository: Repository, system_identifier: int) -> list[int]:
    """The timelines that anything is stored of; asks once or twice for each, not for each file."""
    prefix = wal_prefix(system_identifier)
    found: list[int] = []
    after = ""
    while True:
        listed = next(iter(repository.list(prefix, start_after=after)), None)
        if listed is None:
            return found
        folder = listed.key[len(prefix) :].split("/", 1)[0]
        stored, shipped = stored_wal(listed), partial_of(listed.key)
        if stored is not None:
            found.append(timeline_of(stored.name))
        elif shipped is not None:
            found.append(timeline_of(shipped[1]))
        else:
            after = listed.key  # a stray object must not hide the timeline behind it
            continue
        # "0" is the byte after "/": everything under this folder is passed over.
        after = f"{prefix}{folder}0"


def read_archive(
    repository: Repository, codec: Codec, system_identifier: int, segment_bytes: int
) -> WalArchive:
    """What the archive of one cluster holds, its branches checked against the histories."""
    listing = ArchiveListing(segment_bytes)
    for stored in list_wal(repository, system_identifier):
        listing.add(stored.name, stored.sha256, stored.listed.size_bytes)
    return listing.finish(load_lineages(repository, codec, system_identifier).values())


def stored_wal(listed: Listed) -> StoredWal | None:
    """What a listed object is; None when it is no WAL file."""
    parts = wal_file_of(listed.key)
    return StoredWal(*parts, listed) if parts else None
