"""The WAL of one cluster as one copy lists it, from some segment on."""

from collections.abc import Iterable
from dataclasses import dataclass

from kb_dr.domain.layout import timeline_prefix
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recovery import WalFile
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_names import Segment, history_name, is_history, is_segment
from kb_dr.errors import KbDrError, ObjectConflict, WalDamaged
from kb_dr.operations.listed_wal import StoredWal, load_lineages, stored_wal, timelines_present
from kb_dr.operations.partial_wal import StoredPartial, stored_partial
from kb_dr.ports import Codec, Repository


@dataclass(slots=True)
class ListedArchive:
    """Every segment from one number on, of every timeline, and every history.

    The last segment of a timeline may be one that a stream shipped while it was being written.
    """

    lineages: dict[int, Lineage]
    segments: dict[Segment, WalFile]
    histories: list[WalFile]
    unusable: dict[Segment, KbDrError]
    """Segments that stand there and must not be replayed, and why."""
    without_history: tuple[int, ...] = ()
    """Timelines something stands of, which PostgreSQL cannot follow: their history is missing."""

    @classmethod
    def read(
        cls, repository: Repository, codec: Codec, system: int, first: Segment
    ) -> "ListedArchive":
        """List it; older segments are passed over, of whatever timeline.

        Raises WalDamaged for histories that are none and for names that are of no segment. A
        segment with two digests or zero bytes is noted: see usable().
        """
        lineages = load_lineages(repository, codec, system)
        lost = set(timelines_present(repository, system)) - lineages.keys()
        found = cls(lineages, {}, [], {}, tuple(sorted(lost)))
        for timeline in sorted(found.lineages.keys() | {first.timeline}):
            prefix = timeline_prefix(system, timeline)
            partial: StoredPartial | None = None
            # Older segments are of no use and may be many; the history sorts before any of them
            # and is asked for by itself.
            for listed in repository.list(prefix, start_after=f"{prefix}{first.on(timeline).name}"):
                stored = stored_wal(listed)
                if stored is not None and is_segment(stored.name):
                    found._add_segment(stored, first.segment_bytes)
                partial = stored_partial(listed) or partial
            found._add_partial(partial, first.segment_bytes)
            for listed in repository.list(f"{prefix}{history_name(timeline)}-"):
                stored = stored_wal(listed)
                if stored is not None and is_history(stored.name):
                    found.histories.append(_file(stored))
        if not found.segments:
            # An empty listing of a place that is not there must not pass for "no WAL".
            repository.check()
        return found

    def _add_segment(self, stored: StoredWal, segment_bytes: int) -> None:
        try:
            segment = Segment.parse(stored.name, segment_bytes)
        except ValueError as error:
            raise WalDamaged(f"list WAL: {error}") from error
        if segment in self.segments and self.segments[segment].sha256 != stored.sha256:
            self.unusable[segment] = ObjectConflict(
                f"list WAL: {stored.name} is stored with two digests",
                hint="Two servers wrote it: find out which one was promoted wrongly.",
            )
        elif stored.listed.size_bytes == 0:
            self.unusable[segment] = WalDamaged(f"list WAL: {stored.key} has zero bytes")
        self.segments[segment] = _file(stored)

    def _add_partial(self, partial: StoredPartial | None, segment_bytes: int) -> None:
        """The newest thing a stream shipped of a timeline, unless full segments reach as far."""
        if partial is None:
            return
        segment = Segment.parse(partial.segment, segment_bytes)
        if any(each.timeline == segment.timeline and each >= segment for each in self.segments):
            return
        self.segments[segment] = WalFile(
            partial.segment, partial.key, "", partial.listed.size_bytes, partial=True
        )

    def usable(self, segments: Iterable[Segment]) -> tuple[WalFile, ...]:
        """The files of these segments; raises what is wrong with the first that is bad."""
        files = []
        for segment in segments:
            if segment in self.unusable:
                raise self.unusable[segment]
            files.append(self.segments[segment])
        return tuple(files)

    @property
    def with_wal(self) -> frozenset[int]:
        """The timelines of which segments stand."""
        return frozenset(segment.timeline for segment in self.segments)

    def lineage(self, timeline: int) -> Lineage | None:
        """The line that ends with this timeline; None when its history does not stand."""
        return self.lineages.get(timeline)

    def own_begin(self, timeline: int) -> Lsn:
        """Where a timeline left its parent; all it wrote begins there or later."""
        lineage = self.lineages.get(timeline)
        return lineage.begin_of(timeline) if lineage else Lsn(0)

    def own_runs(self, timeline: int) -> list[list[Segment]]:
        """The segments written on this very timeline, in stretches without a gap."""
        runs: list[list[Segment]] = []
        for segment in sorted(each for each in self.segments if each.timeline == timeline):
            if runs and runs[-1][-1].number + 1 == segment.number:
                runs[-1].append(segment)
            else:
                runs.append([segment])
        return runs


def _file(stored: StoredWal) -> WalFile:
    return WalFile(stored.name, stored.key, stored.sha256, stored.listed.size_bytes)
