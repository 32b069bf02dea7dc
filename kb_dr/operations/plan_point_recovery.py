"""Work out, before anything changes, how a recovery comes to one point of the WAL."""

from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.recovery import RecoveryPlan, WalFile
from kb_dr.domain.recovery_target import AtLsn, AtName, AtTime, PointTarget, stop_rule
from kb_dr.domain.replay_line import WalLine
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import (
    NoUsableBackup,
    RecoveryError,
    TargetUnreachable,
    TimelineForked,
    WalGap,
)
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.catalog import whole
from kb_dr.operations.find_stop import WalSearch
from kb_dr.operations.listed_archive import ListedArchive
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.operations.plan_recovery import bytes_needed
from kb_dr.operations.refuse_target import CLOCK_SLACK, before_every_backup
from kb_dr.operations.resolve_target import Place, resolve_target
from kb_dr.ports import Clock, Codec, Repository


def plan_point_recovery(
    repository: Repository,
    codec: Codec,
    backups: Sequence[StoredManifest],
    target: PointTarget,
    clock: Clock,
    *,
    timeline: int | None = None,
    only: BackupId | None = None,
) -> RecoveryPlan:
    """How to recover to ``target`` from the newest of ``backups`` that can serve it, or ``only``.

    ``backups``, oldest first, are those of one copy that may be restored, in their lean form or
    whole: the one of the plan is read again, and is whole. Those of the newest
    cluster among them are asked first, and older clusters only when that one was not there yet,
    or knows no such restore point or timeline.
    Reads WAL around the target; changes nothing. Raises NoUsableBackup when the target lies before
    every backup or inside the only one, WalGap when WAL between backup and target is missing, and
    what resolve_target() raises; each message names what can be reached instead. Raises what
    whole() and load_chain() do when the chosen one went away or changed since it was listed.
    """
    refused: RecoveryError | None = None
    elsewhere: tuple[type[RecoveryError], ...] = (NoUsableBackup,)
    if isinstance(target, AtName):
        elsewhere += (TargetUnreachable,)
    if timeline is not None:
        elsewhere += (TimelineForked,)
    for system in _clusters(backups):
        of_cluster = [each for each in backups if each.manifest.source.system_identifier == system]
        if only is not None and only not in {each.manifest.backup_id for each in of_cluster}:
            continue
        try:
            decided = _decide_in_cluster(
                repository, codec, of_cluster, target, clock, timeline, only
            )
        except elsewhere as error:
            refused = refused or error  # the target may lie before an upgrade
            continue
        # Not in the try: a chosen backup that is lost meanwhile is no reason for another cluster.
        return _plan(repository, target, decided)
    raise refused or NoUsableBackup(
        f"recover to {target}: there is no backup in {repository.name} ({repository.url})"
    )


def _clusters(backups: Sequence[StoredManifest]) -> list[int]:
    """System identifiers, the newest backup's first."""
    systems = [each.manifest.source.system_identifier for each in reversed(backups)]
    return list(dict.fromkeys(systems))


@dataclass(frozen=True, slots=True)
class _Decided:
    """Which backup of one cluster, and the place replay comes to from it."""

    system: int
    archive: ListedArchive
    chosen: "_Chosen"
    place: Place
    lineage: Lineage


def _decide_in_cluster(
    repository: Repository,
    codec: Codec,
    backups: Sequence[StoredManifest],
    target: PointTarget,
    clock: Clock,
    timeline: int | None,
    only: BackupId | None,
) -> _Decided:
    manifests = [each.manifest for each in backups]
    system = manifests[0].source.system_identifier
    first = min((needed_segments(each)[0] for each in manifests), key=lambda each: each.number)
    archive = ListedArchive.read(repository, codec, system, first)
    search = WalSearch(repository, codec, system, archive)
    place = resolve_target(search, target, manifests, timeline=timeline, now=clock.now())
    may_serve = [each for each in backups if only in (None, each.manifest.backup_id)]
    chosen, place, lineage = _settle(repository, search, may_serve, target, place)
    return _Decided(system, archive, chosen, place, lineage)


def _plan(repository: Repository, target: PointTarget, decided: _Decided) -> RecoveryPlan:
    chosen, place, archive = decided.chosen, decided.place, decided.archive
    stop = place.stop
    stored = whole(repository, chosen.stored)
    chain = load_chain(repository, stored)
    return RecoveryPlan(
        stored=stored,
        target=target,
        copy=repository.name,
        url=repository.url,
        system_identifier=decided.system,
        timeline=place.timeline,
        segments=chosen.segments,
        histories=tuple(archive.histories),
        expected_end=stop.lsn,
        expected_timeline=place.timeline,
        newest_commit=stop.last_transaction.at if stop.last_transaction else None,
        bytes_needed=bytes_needed(chain),
        notes=(*chosen.notes, *_notes(archive, place, decided.lineage)),
        chain=chain,
    )


FULL_SCAN = 256
"""So many segments are read whole to see whether the server's clock was ever set back in them."""


def _settle(
    repository: Repository,
    search: WalSearch,
    backups: Sequence[StoredManifest],
    target: PointTarget,
    place: Place,
) -> tuple["_Chosen", Place, Lineage]:
    """The backup, and the place PostgreSQL comes to from it.

    It looks at every record from the backup on, and stops at the first that is later. Where the
    server's clock was set back that stands before the place a search by time finds; then the
    choice is made once more, for that place.
    """
    while True:
        lineage = search.archive.lineage(place.timeline)
        if lineage is None:
            raise WalGap(
                f"recover to {target} from {repository.name}: the history file of timeline "
                f"{place.timeline} is missing, without which PostgreSQL does not follow it",
                hint="Another copy may have it: --from.",
            )
        chosen = _choose(repository, search.archive, lineage, backups, target, place)
        if not isinstance(target, AtTime) or len(chosen.line) > FULL_SCAN:
            return chosen, place, lineage
        stop = search.scan(chosen.line, stop_rule(target, begin=chosen.stored.manifest.wal.start))
        if stop is None or stop.lsn >= place.stop.lsn:
            return chosen, place, lineage
        place = Place(lineage.timeline_at(stop.lsn), stop, live=place.live)


@dataclass(frozen=True, slots=True)
class _Chosen:
    stored: StoredManifest
    line: tuple[Segment, ...]
    segments: tuple[WalFile, ...]
    notes: tuple[str, ...]


def _choose(
    repository: Repository,
    archive: ListedArchive,
    lineage: Lineage,
    backups: Sequence[StoredManifest],
    target: PointTarget,
    place: Place,
) -> _Chosen:
    """The newest backup that is whole before the target, with all WAL between the two."""
    gaps: list[str] = []
    inside: list[str] = []
    strangers: list[str] = []
    lines: dict[int, WalLine] = {}
    """By the size of a segment; walked from each backup that a gap lies behind."""
    for stored in reversed(backups):
        manifest = stored.manifest
        if _cannot_tell(manifest, target, place):
            if _began_before(manifest, target, place):
                inside.append(manifest.id)
            continue
        if manifest.wal.stop > place.stop.lsn:
            if manifest.wal.timeline == place.timeline and _began_before(manifest, target, place):
                inside.append(manifest.id)
            continue
        if not lineage.contains(manifest.wal.timeline, manifest.wal.stop):
            strangers.append(manifest.id)
            continue
        first = needed_segments(manifest)[0]
        last = Segment.ending_at_or_after(place.timeline, place.stop.read_to, first.segment_bytes)
        if first.segment_bytes not in lines:
            lines[first.segment_bytes] = WalLine(lineage, archive.segments, first.segment_bytes)
        line = lines[first.segment_bytes]
        missing = line.missing_from(first)
        if missing.number <= last.number:
            gaps.append(f"{missing.name} is missing behind {manifest.id}")
            continue
        wanted = [each for each in line.follow(first).segments if each.number <= last.number]
        notes = [f"{each} is passed over: {target} lies inside it" for each in inside]
        notes += [f"passed over: {each}" for each in gaps]
        return _Chosen(stored, tuple(wanted), archive.usable(wanted), tuple(notes))
    raise _refusal(repository, backups, target, place, gaps=gaps, inside=inside, other=strangers)


def _cannot_tell(manifest: Manifest, target: PointTarget, place: Place) -> bool:
    """Whether nothing in the WAL says that the target is not older than the backup.

    Then only the times in its manifest do, and those are of another host's clock.
    """
    if not isinstance(target, AtTime) or place.stop.last_transaction is not None:
        return False
    return target.at < manifest.finished + CLOCK_SLACK


def _began_before(manifest: Manifest, target: PointTarget, place: Place) -> bool:
    if isinstance(target, AtTime):
        return manifest.started <= target.at
    at = target.lsn if isinstance(target, AtLsn) else place.stop.lsn
    return manifest.wal.start <= at


def _refusal(
    repository: Repository,
    backups: Sequence[StoredManifest],
    target: PointTarget,
    place: Place,
    *,
    gaps: list[str],
    inside: list[str],
    other: list[str],
) -> WalGap | NoUsableBackup | TimelineForked:
    where = f"recover to {target} from {repository.name}"
    if gaps:
        return WalGap(
            f"{where}: {gaps[0]}, and no newer backup serves that target",
            hint="Choose a moment in one of the recoverable windows, or another copy with --from.",
        )
    if other:
        return TimelineForked(
            f"{where}: it lies on timeline {place.timeline}, which no backup here leads to",
            hint="`kb-dr list` shows the timeline of each backup; try another with --from.",
        )
    oldest = min(backups, key=lambda each: each.manifest.finished).manifest
    if inside:
        earliest = f"{oldest.finished:%Y-%m-%dT%H:%M:%SZ}"
        return NoUsableBackup(
            f"{where}: it lies between start and end of {inside[-1]}, or nearer to it than clocks "
            "can tell, and there is no older backup",
            hint=f"A backup can be recovered to its end at the earliest: {earliest}, LSN "
            f"{oldest.wal.stop}.",
        )
    return before_every_backup(repository.name, target, oldest)


def _notes(archive: ListedArchive, place: Place, lineage: Lineage) -> tuple[str, ...]:
    """What the choice of the timeline was."""
    younger = sorted(each for each in archive.with_wal if each > place.timeline)
    notes = [
        f"on timeline {place.timeline}: at that point timeline {each} had not begun"
        for each in younger
        if (line := archive.lineage(each)) is not None and place.timeline in line.timelines
    ]
    if not place.live:
        notes.append(f"timeline {lineage.timeline} had committed nothing of its own yet")
    return tuple(notes)
