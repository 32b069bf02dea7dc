"""Find the WAL that a recovery from one backup can replay, in one copy."""

from dataclasses import dataclass

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.purged_wal import covers
from kb_dr.domain.recovery import WalFile
from kb_dr.domain.replay_line import ReplayLine, choose_lineage, follow
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_names import history_name
from kb_dr.errors import TimelineForked, WalGap
from kb_dr.operations.listed_archive import ListedArchive
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.operations.purged_wal import load_purged_wal
from kb_dr.ports import Clock, Codec, Repository

TIP_SEGMENTS = 64
"""A hole with no more than so many segments behind it may be an upload that is under way:
segments are pushed side by side."""

HOLE_SECONDS = 30.0
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ReplayableWal:
    """WAL files in the order of replay, and what else PostgreSQL asks for."""

    lineage: Lineage
    """The line of timelines that replay follows."""
    segments: tuple[WalFile, ...]
    histories: tuple[WalFile, ...]
    notes: tuple[str, ...]


def find_replayable_wal(
    repository: Repository,
    codec: Codec,
    manifest: Manifest,
    clock: Clock,
    *,
    timeline: int | None = None,
    where_purged: bool = False,
) -> ReplayableWal:
    """The contiguous WAL from the backup's start to the newest end of this copy.

    Along the newest line of timelines that passes the backup, or the one that ends with
    ``timeline``. Raises TimelineForked when that one does not pass the backup; WalGap when WAL up
    to the backup's stop is missing, or when segments stand behind a hole (a restore to the newest
    would fall short of them), or segments of a younger timeline whose history is missing, unless
    ``timeline`` says which to follow; WalDamaged for empty objects and histories that are none;
    ObjectConflict for two digests of one file. Never returns less than the backup needs.

    ``where_purged``: the line may end at a hole that retention made, as it does behind a backup
    that is kept for longer than WAL is; a note says so. Only for a backup that was asked for.
    """
    deadline = clock.monotonic() + HOLE_SECONDS
    while True:
        first = needed_segments(manifest)[0]
        found = ListedArchive.read(repository, codec, manifest.source.system_identifier, first)
        for problem in found.unusable.values():
            raise problem
        line = _line(found, manifest, timeline)
        if where_purged and line.beyond and _is_purged(repository, found, line, manifest):
            return ReplayableWal(
                lineage=line.lineage,
                segments=found.usable(line.segments),
                histories=tuple(found.histories),
                notes=(*_notes(found, line), _purged_note(line)),
            )
        lost = _lost_lines(found, line) if timeline is None else ()
        under_way = bool(lost) or 0 < line.beyond <= TIP_SEGMENTS
        if not under_way or clock.monotonic() >= deadline:
            break
        clock.sleep(_LOOK_SECONDS)
    _require_enough(repository, manifest, line)
    _require_known_lines(repository, manifest, lost)
    return ReplayableWal(
        lineage=line.lineage,
        segments=found.usable(line.segments),
        histories=tuple(found.histories),
        notes=_notes(found, line),
    )


def _require_enough(repository: Repository, manifest: Manifest, line: ReplayLine) -> None:
    _, last = needed_segments(manifest)
    where = f"find WAL for {manifest.id} in {repository.name} ({repository.url})"
    if line.missing.number <= last.number:
        raise WalGap(
            f"{where}: {line.missing.name} is missing, which the backup itself needs",
            hint="This copy of the backup cannot be restored: use another copy or backup.",
        )
    if line.beyond:
        raise WalGap(
            f"{where}: {line.missing.name} is missing, and {line.beyond} newer segments stand "
            "behind it",
            hint="`kb-dr wal audit` names every gap. Restore from another copy, or from a backup "
            "taken after the gap.",
        )


def _is_purged(
    repository: Repository, found: ListedArchive, line: ReplayLine, manifest: Manifest
) -> bool:
    """Whether the backup has what it needs, and retention let go of all that lies between the end
    of the line and the next segment that stands.
    """
    if line.missing.number <= needed_segments(manifest)[1].number:
        return False
    timeline = line.missing.timeline
    behind = min(
        (each.number for each in found.segments if each.number > line.missing.number),
        default=line.missing.number + 1,
    )
    purged = load_purged_wal(repository, manifest.source.system_identifier)
    return covers(purged, timeline, line.missing.number, behind - 1)


def _purged_note(line: ReplayLine) -> str:
    last = line.segments[-1].name
    return f"retention let go of the WAL behind {last}: nothing later can be had from this backup"


def _lost_lines(found: ListedArchive, line: ReplayLine) -> tuple[int, ...]:
    """Younger timelines of which WAL stands and no history: any of them may go on from here."""
    return tuple(each for each in found.without_history if each > line.lineage.timeline)


def _require_known_lines(repository: Repository, manifest: Manifest, lost: tuple[int, ...]) -> None:
    if lost:
        names = ", ".join(history_name(each) for each in lost)
        raise WalGap(
            f"find WAL for {manifest.id} in {repository.name} ({repository.url}): {names} is "
            "missing, and WAL of that timeline stands here: which end is the newest nobody can "
            "tell",
            hint="Restore from another copy, or name the timeline with --target-timeline. The "
            "server that wrote it has the file in pg_wal: `kb-dr wal push` it.",
        )


def _line(found: ListedArchive, manifest: Manifest, wanted: int | None) -> ReplayLine:
    first = needed_segments(manifest)[0]
    timeline, stop = manifest.wal.timeline, manifest.wal.stop
    if wanted is not None:
        return follow(_asked_line(found, manifest, wanted), first, found.segments.keys())
    lineage = choose_lineage(found.lineages.values(), found.with_wal, timeline, stop)
    if lineage is None:
        raise WalGap(
            f"find WAL for {manifest.id}: {history_name(timeline)} is missing, without which "
            f"PostgreSQL does not follow timeline {timeline}",
            hint="Restore from another copy.",
        )
    return follow(lineage, first, found.segments.keys())


def _asked_line(found: ListedArchive, manifest: Manifest, wanted: int) -> Lineage:
    lineage = found.lineage(wanted)
    where = f"follow timeline {wanted} from {manifest.id}"
    if lineage is None or not (wanted in found.with_wal or wanted == manifest.wal.timeline):
        known = ", ".join(str(each) for each in sorted(found.with_wal)) or "none"
        raise TimelineForked(
            f"{where}: there is no such timeline here, expected one of {known}",
            hint="`kb-dr wal audit` lists the timelines of this copy.",
        )
    if not lineage.contains(manifest.wal.timeline, manifest.wal.stop):
        raise TimelineForked(
            f"{where}: that timeline left timeline {manifest.wal.timeline} before this backup "
            f"ended at {manifest.wal.stop}",
            hint="Choose an older backup, or leave the timeline out.",
        )
    return lineage


def _notes(found: ListedArchive, line: ReplayLine) -> tuple[str, ...]:
    others = sorted(found.lineages.keys() - set(line.lineage.timelines))
    return tuple(
        f"timeline {timeline} is not followed: it left this line, or has no WAL here yet"
        for timeline in others
    )
