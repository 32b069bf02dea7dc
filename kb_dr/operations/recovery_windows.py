"""List what one copy can be recovered to: every stretch without a gap, on every timeline."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.recoverable_window import RecoverableWindow
from kb_dr.domain.replay_line import ReplayLine, WalLine
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import KbDrError, UnreadableRecord
from kb_dr.operations.backup_chain import chains_in
from kb_dr.operations.catalog import CatalogEntry, lean_entry, load_catalog
from kb_dr.operations.choose_backup import KnownBad
from kb_dr.operations.find_stop import WalSearch
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_archive import ListedArchive
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.ports import Codec, Repository


def list_recovery_windows(
    repository: Repository, codec: Codec, known: KnownEntries[CatalogEntry] | None = None
) -> tuple[RecoverableWindow, ...]:
    """The windows of a copy, oldest first.

    A backup that a restore passes over, whose chain is broken or whose proofs cannot be read, leads
    to none.
    Reads the last segments of each. Raises what listing raises; a window whose end cannot be read
    says so. ``known`` as in load_catalog().
    """
    catalog = load_catalog(repository, known, shape=lean_entry)
    chains = chains_in(catalog).whole.values()
    bad = KnownBad(repository, {each.manifest.backup_id for chain in chains for each in chain})
    manifests = [each[-1].manifest for each in chains if _may_be_restored(bad, each)]
    found: list[RecoverableWindow] = []
    for system in sorted({each.source.system_identifier for each in manifests}):
        of_cluster = [each for each in manifests if each.source.system_identifier == system]
        found += _of_cluster(repository, codec, system, of_cluster)
    return tuple(sorted(found, key=lambda each: (each.begins_at, each.timeline)))


def _may_be_restored(bad: KnownBad, chain: Sequence[StoredManifest]) -> bool:
    try:
        return bad.why(chain) is None
    except UnreadableRecord:
        return False  # it may be a red proof, and a restore refuses to guess


def _of_cluster(
    repository: Repository, codec: Codec, system: int, manifests: Sequence[Manifest]
) -> list[RecoverableWindow]:
    first = min((needed_segments(each)[0] for each in manifests), key=lambda each: each.number)
    archive = ListedArchive.read(repository, codec, system, first)
    search = WalSearch(repository, codec, system, archive)
    present = archive.segments.keys() - archive.unusable.keys()
    groups: dict[Segment, _Group] = {}
    for timeline in sorted(archive.with_wal):
        lineage = archive.lineages.get(timeline)
        if lineage is None:
            continue
        line = WalLine(lineage, present, first.segment_bytes)
        for manifest in manifests:
            last = _last(line, manifest)
            if last is None:
                continue
            begin, _ = needed_segments(manifest)
            group = groups.setdefault(last, _Group(line, line, begin))
            group.add(line, begin, manifest)
    found = [
        (line, _window(search, line, list(group.backups.values())))
        for group in groups.values()
        for line in [group.replay_line()]
    ]
    return [
        window
        for line, window in found
        if not any(_goes_on(window, other, wider) for other, wider in found if other is not line)
    ]


def _goes_on(window: RecoverableWindow, other: ReplayLine, wider: RecoverableWindow) -> bool:
    """Whether a younger timeline took over where this window ends, and lost nothing of it."""
    return (
        window.ends_lsn is not None
        and wider.timeline > window.timeline
        and set(window.backups) <= set(wider.backups)
        # Its last record begins there: it belongs to the younger one only when it lies before.
        and other.lineage.contains(window.timeline, window.ends_lsn.plus(1))
    )


@dataclass(slots=True)
class _Group:
    """The backups whose lines end in one segment.

    Of lines that end alike the newest is kept, which is followed, from the oldest begin.
    """

    line: WalLine
    longest: WalLine
    """The one that the oldest begin was found on first."""
    begin: Segment
    backups: dict[str, Manifest] = field(default_factory=dict)

    def add(self, line: WalLine, begin: Segment, manifest: Manifest) -> None:
        self.line = line
        if begin.number < self.begin.number:
            self.longest, self.begin = line, begin
        self.backups.setdefault(manifest.id, manifest)

    def replay_line(self) -> ReplayLine:
        segments = self.longest.follow(self.begin).segments
        return replace(self.line.follow(self.begin), segments=segments)


def _last(line: WalLine, manifest: Manifest) -> Segment | None:
    """Where the WAL behind a backup ends on a line; None when it is not on it, or lacks its own."""
    if not line.lineage.contains(manifest.wal.timeline, manifest.wal.stop):
        return None
    first, needed = needed_segments(manifest)
    last = line.last_from(first)
    return last if last is not None and last.number >= needed.number else None


def _window(
    search: WalSearch, line: ReplayLine, manifests: Sequence[Manifest]
) -> RecoverableWindow:
    by_age = sorted(manifests, key=lambda each: each.finished)
    oldest, last = by_age[0], line.segments[-1]
    ends_at, ends_lsn, covered, problem = None, None, None, ""
    try:
        tip = search.tip_of(line.segments)
        if tip is not None:
            ends_lsn, covered = tip.last_record, tip.covered_until
            ends_at = tip.last_transaction.at if tip.last_transaction else None
    except KbDrError as error:
        problem = str(error)
    missing = f"gap: {line.missing.name} is missing"
    return RecoverableWindow(
        copy=search.repository.name,
        system_identifier=search.system_identifier,
        timeline=last.timeline,
        begins_at=oldest.finished,
        begins_lsn=oldest.wal.stop,
        ends_at=ends_at,
        ends_lsn=ends_lsn,
        ended_by=missing if line.beyond else "end of the archive",
        backups=tuple(each.id for each in by_age),
        covered_until=covered,
        problem=problem,
        line=line.lineage.timeline,
    )
