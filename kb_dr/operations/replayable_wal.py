"""Find the WAL that a recovery from one backup can replay, in one copy."""

from dataclasses import dataclass

from kb_dr.domain.layout import timeline_prefix
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.recovery import WalFile
from kb_dr.domain.replay_line import ReplayLine, choose_lineage, follow
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_names import Segment, history_name, is_history, is_segment
from kb_dr.errors import ObjectConflict, WalDamaged, WalGap
from kb_dr.operations.listed_wal import StoredWal, load_lineages, stored_wal
from kb_dr.operations.needed_wal import needed_segments
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
    repository: Repository, codec: Codec, manifest: Manifest, clock: Clock
) -> ReplayableWal:
    """The contiguous WAL from the backup's start to the newest end of this copy.

    Raises WalGap when WAL up to the backup's stop is missing, or when segments stand behind a
    hole (a restore to the newest would fall short of them); WalDamaged for empty objects and
    histories that are none; ObjectConflict for two digests of one file. Never returns less than
    the backup needs.
    """
    deadline = clock.monotonic() + HOLE_SECONDS
    while True:
        found = _Archive.read(repository, codec, manifest)
        line = found.line(manifest)
        waits = 0 < line.beyond <= TIP_SEGMENTS and clock.monotonic() < deadline
        if not waits:
            break
        clock.sleep(_LOOK_SECONDS)
    _require_enough(repository, manifest, line)
    return ReplayableWal(
        lineage=line.lineage,
        segments=tuple(found.segments[segment] for segment in line.segments),
        histories=tuple(found.histories),
        notes=found.notes(line),
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


@dataclass(slots=True)
class _Archive:
    """What was listed, from the backup's first segment on."""

    lineages: dict[int, Lineage]
    segments: dict[Segment, WalFile]
    histories: list[WalFile]

    @classmethod
    def read(cls, repository: Repository, codec: Codec, manifest: Manifest) -> "_Archive":
        system = manifest.source.system_identifier
        found = cls(load_lineages(repository, codec, system), {}, [])
        first = needed_segments(manifest)[0]
        for timeline in sorted(found.lineages.keys() | {first.timeline}):
            prefix = timeline_prefix(system, timeline)
            # Older segments are of no use and may be many; the history sorts before any of them
            # and is asked for by itself.
            for listed in repository.list(prefix, start_after=f"{prefix}{first.on(timeline).name}"):
                stored = stored_wal(listed)
                if stored is not None and is_segment(stored.name):
                    found.add_segment(stored, first.segment_bytes)
            for listed in repository.list(f"{prefix}{history_name(timeline)}-"):
                stored = stored_wal(listed)
                if stored is not None and is_history(stored.name):
                    found.histories.append(_file(stored))
        if not found.segments:
            # An empty listing of a place that is not there must not pass for "no WAL".
            repository.check()
        return found

    def add_segment(self, stored: StoredWal, segment_bytes: int) -> None:
        try:
            segment = Segment.parse(stored.name, segment_bytes)
        except ValueError as error:
            raise WalDamaged(f"list WAL: {error}") from error
        if segment in self.segments:
            raise ObjectConflict(
                f"list WAL: {stored.name} is stored with two digests",
                hint="Two servers wrote it: find out which one was promoted wrongly.",
            )
        if stored.listed.size_bytes == 0:
            raise WalDamaged(f"list WAL: {stored.key} has zero bytes")
        self.segments[segment] = _file(stored)

    def line(self, manifest: Manifest) -> ReplayLine:
        first = needed_segments(manifest)[0]
        with_wal = {segment.timeline for segment in self.segments}
        timeline, stop = manifest.wal.timeline, manifest.wal.stop
        lineage = choose_lineage(self.lineages.values(), with_wal, timeline, stop)
        if lineage is None:
            raise WalGap(
                f"find WAL for {manifest.id}: {history_name(timeline)} is missing, without which "
                f"PostgreSQL does not follow timeline {timeline}",
                hint="Restore from another copy.",
            )
        return follow(lineage, first, self.segments.keys())

    def notes(self, line: ReplayLine) -> tuple[str, ...]:
        others = sorted(self.lineages.keys() - set(line.lineage.timelines))
        return tuple(
            f"timeline {timeline} is not followed: it left this line, or has no WAL here yet"
            for timeline in others
        )


def _file(stored: StoredWal) -> WalFile:
    return WalFile(stored.name, stored.key, stored.sha256, stored.listed.size_bytes)
