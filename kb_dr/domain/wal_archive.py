"""What one cluster's WAL archive holds, told from an ordered listing of it.

Fed name by name in order of key, in memory bounded by what is wrong with the archive (and
there by a limit), not by its length.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.purged_wal import Stretches, covers
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_names import (
    Segment,
    history_name,
    is_history,
    is_segment,
    timeline_of,
)

MOST_RUNS = 10_000
"""Contiguous runs, and segments that cannot be replayed, kept of one timeline: the newest."""


class WalProblemKind(StrEnum):
    """What can be wrong with an archive."""

    GAP = "gap"
    TWO_DIGESTS = "two_digests"
    ZERO_BYTES = "zero_bytes"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"
    DAMAGED = "damaged"
    MISSING_HISTORY = "missing_history"
    STRAY = "stray"


@dataclass(frozen=True, slots=True)
class WalProblem:
    """One thing that is wrong, and where."""

    kind: WalProblemKind
    timeline: int
    name: str
    """The segment or file; of a gap, its first missing segment."""
    detail: str


@dataclass(frozen=True, slots=True)
class Run:
    """Segments of one timeline without a gap, both ends included."""

    first: Segment
    last: Segment

    @property
    def segments(self) -> int:
        """How many."""
        return self.last.number - self.first.number + 1

    def holds(self, segment: Segment) -> bool:
        """Whether this very segment is among them."""
        return (
            segment.timeline == self.first.timeline
            and self.first.number <= segment.number <= self.last.number
        )


@dataclass(frozen=True, slots=True)
class ArchivedTimeline:
    """What stands of one timeline."""

    timeline: int
    runs: tuple[Run, ...]
    """What can be replayed: a run ends before a segment with zero bytes or two digests."""
    has_history: bool
    newest_unusable: Segment | None = None
    """The newest segment that stands there and cannot be replayed."""

    @property
    def segments(self) -> int:
        """How many segments stand that can be replayed."""
        return sum(run.segments for run in self.runs)


@dataclass(frozen=True, slots=True)
class WalArchive:
    """All timelines of one cluster, and what the listing alone shows to be wrong."""

    timelines: dict[int, ArchivedTimeline]
    problems: tuple[WalProblem, ...]
    more_problems: int
    """How many more were found than are named."""

    @property
    def segments(self) -> int:
        """How many segments stand that can be replayed."""
        return sum(each.segments for each in self.timelines.values())

    def holds(self, segment: Segment) -> bool:
        """Whether this very segment stands and can be replayed."""
        found = self.timelines.get(segment.timeline)
        return found is not None and any(run.holds(segment) for run in found.runs)

    def contiguous_end(self, start: Segment, lineage: Lineage | None = None) -> Segment | None:
        """The last segment that replay can read from ``start`` on without a gap.

        Along ``lineage`` where one is given (PostgreSQL looks for each segment on the newest
        timeline first, as this does), else on the timeline of ``start``. None when not even
        ``start`` stands.
        """
        last: Segment | None = None
        number = start.number
        while (run := self._run_of(number, start, lineage)) is not None:
            last = self._leave(run, lineage)
            number = last.number + 1
        return last

    def segment_along(
        self, number: int, start: Segment, lineage: Lineage | None = None
    ) -> Segment | None:
        """The segment replay reads as number ``number`` of the WAL; None where there is none."""
        run = self._run_of(number, start, lineage)
        return run.first if run else None

    def _run_of(self, number: int, start: Segment, lineage: Lineage | None) -> Run | None:
        for timeline in reversed(lineage.timelines) if lineage else (start.timeline,):
            segment = Segment(timeline, number, start.segment_bytes)
            end = lineage.end_of(timeline) if lineage else None
            if lineage and segment.end <= lineage.begin_of(timeline):
                continue
            # What a timeline wrote from the segment on in which it was left is not on the line,
            # even where the younger timeline's segment is missing.
            if end is not None and segment.end > end:
                continue
            for run in self.timelines.get(timeline, _NOTHING).runs:
                if run.holds(segment):
                    return Run(segment, run.last)
        return None

    @staticmethod
    def _leave(run: Run, lineage: Lineage | None) -> Segment:
        """The last segment of a run before a younger timeline of the line takes over."""
        end = lineage.end_of(run.first.timeline) if lineage else None
        if end is None:
            return run.last
        whole = end // run.first.segment_bytes - 1
        last = min(run.last.number, whole)
        return Segment(run.first.timeline, last, run.first.segment_bytes)


_NOTHING = ArchivedTimeline(0, (), has_history=False)


@dataclass(slots=True)
class ArchiveListing:
    """Builds a WalArchive; ``add`` takes names in the order of their keys."""

    segment_bytes: int
    most_problems: int = 1000
    purged: Stretches = field(default_factory=dict)
    """What retention has let go of here: a hole that lies in it is no gap."""
    _runs: dict[int, list[Run]] = field(default_factory=dict)
    """Whatever stands: a segment that cannot be replayed is no gap."""
    _unusable: dict[int, deque[int]] = field(default_factory=dict)
    _histories: set[int] = field(default_factory=set)
    _problems: list[WalProblem] = field(default_factory=list)
    _more: int = 0
    _last_name: str = ""
    _last_digest: str = ""

    def add(self, name: str, sha256: str, size_bytes: int) -> None:
        """One stored WAL file: its name, the digest in its key, its size as stored."""
        timeline = timeline_of(name)
        if size_bytes == 0:
            self.report(WalProblemKind.ZERO_BYTES, name, "the stored object has zero bytes")
        if (name, sha256) == (self._last_name, self._last_digest) and size_bytes:
            return  # the same bytes, encrypted anew to other keys
        if name == self._last_name:
            digests = f"stored with two digests, {self._last_digest[:12]} and {sha256[:12]}"
            self.report(WalProblemKind.TWO_DIGESTS, name, digests)
            self._spoil(name)
            return
        self._last_name, self._last_digest = name, sha256
        if is_history(name):
            self._histories.add(timeline)
        elif is_segment(name):
            self._add_segment(name)
        if size_bytes == 0:
            self._spoil(name)

    def _spoil(self, name: str) -> None:
        """Keep in mind that the segment added last cannot be replayed."""
        runs = self._runs.get(timeline_of(name))
        if runs and runs[-1].last.name == name:
            last = runs[-1].last
            known = self._unusable.setdefault(last.timeline, deque(maxlen=MOST_RUNS))
            if not known or known[-1] != last.number:
                known.append(last.number)

    def _add_segment(self, name: str) -> None:
        try:
            segment = Segment.parse(name, self.segment_bytes)
        except ValueError as error:
            self.report(WalProblemKind.STRAY, name, str(error))
            return
        runs = self._runs.setdefault(segment.timeline, [])
        if not runs:
            runs.append(Run(segment, segment))
            return
        last = runs[-1].last
        if segment.number == last.number + 1:
            runs[-1] = Run(runs[-1].first, segment)
            return
        missing = segment.number - last.number - 1
        if not covers(self.purged, segment.timeline, last.number + 1, segment.number - 1):
            self.report(
                WalProblemKind.GAP,
                last.next().name,
                f"{missing} segment{'s' * (missing != 1)} missing between {last.name} and {name}",
            )
        if len(runs) >= MOST_RUNS:
            del runs[0]
        runs.append(Run(segment, segment))

    def report(self, kind: WalProblemKind, name: str, detail: str) -> None:
        """Note one more problem; past the limit they are only counted."""
        if len(self._problems) >= self.most_problems:
            self._more += 1
            return
        self._problems.append(WalProblem(kind, timeline_of(name), name, detail))

    def finish(self, lineages: Iterable[Lineage] = ()) -> WalArchive:
        """The archive, with what only the whole shows: missing histories, gaps where a timeline
        left its parent. ``lineages`` are the histories that could be read.
        """
        known = {each.timeline: each for each in lineages}
        for timeline in sorted(self._runs):
            if timeline > 1 and timeline not in self._histories:
                self.report(
                    WalProblemKind.MISSING_HISTORY,
                    history_name(timeline),
                    f"timeline {timeline} has segments but no history file",
                )
            elif timeline in known:
                self._check_branch(known[timeline])
        timelines = {
            timeline: self._finished(timeline)
            for timeline in sorted({*self._runs, *self._histories})
        }
        return WalArchive(timelines, tuple(self._problems), self._more)

    def _finished(self, timeline: int) -> ArchivedTimeline:
        runs = self._runs.get(timeline, [])
        bad = self._unusable.get(timeline, ())
        newest = Segment(timeline, bad[-1], self.segment_bytes) if bad else None
        return ArchivedTimeline(timeline, _cut(runs, bad), timeline in self._histories, newest)

    def _check_branch(self, lineage: Lineage) -> None:
        """A timeline must begin in the segment where its parent was left, and the parent must
        reach up to it. Where nothing older than the branch stands, retention took it: no gap.
        """
        parent = lineage.parent
        runs = self._runs[lineage.timeline]
        if parent is None or not (older := self._runs.get(parent)):
            return
        begin: Lsn = lineage.begin_of(lineage.timeline)
        fork = Segment.holding(lineage.timeline, begin, self.segment_bytes)
        if older[0].first.number >= fork.number:
            return
        first = runs[0].first.number
        if first > fork.number and not covers(
            self.purged, lineage.timeline, fork.number, first - 1
        ):
            self.report(
                WalProblemKind.GAP,
                fork.name,
                f"timeline {lineage.timeline} left {parent} in {fork.name}, which is missing",
            )
        before = next(run for run in reversed(older) if run.first.number < fork.number)
        if before.last.number < fork.number - 1 and not covers(
            self.purged, parent, before.last.number + 1, fork.number - 1
        ):
            self.report(
                WalProblemKind.GAP,
                before.last.next().name,
                f"timeline {parent} ends at {before.last.name}, before {lineage.timeline} left it",
            )


def _cut(runs: Iterable[Run], unusable: Sequence[int]) -> tuple[Run, ...]:
    """The runs without the segments of these numbers, which ascend as the runs do."""
    # Once so many are known, older ones may have been forgotten: nothing is said of what they cut.
    begin = unusable[0] + 1 if len(unusable) >= MOST_RUNS else 0
    left = deque(unusable)
    found: list[Run] = []
    for run in runs:
        first = max(run.first.number, begin)
        while left and left[0] <= run.last.number:
            bad = left.popleft()
            found += _stretch(run, first, bad - 1)
            first = max(first, bad + 1)
        found += _stretch(run, first, run.last.number)
    return tuple(found)


def _stretch(run: Run, first: int, last: int) -> Collection[Run]:
    if first > last:
        return ()
    timeline, size = run.first.timeline, run.first.segment_bytes
    return (Run(Segment(timeline, first, size), Segment(timeline, last, size)),)
