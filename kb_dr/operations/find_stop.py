"""Find where in the archived WAL replay stops for a target.

PostgreSQL decides that for itself when it gets there; knowing it before means that a target out
of reach is refused before anything is written, and that what was reached can be held against it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recovery import WalFile
from kb_dr.domain.recovery_target import AtLsn, AtName, AtTime, PointTarget, stop_rule
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import Stop, StopRule, WalPoint, WalReader
from kb_dr.errors import WalDamaged
from kb_dr.operations.listed_archive import ListedArchive
from kb_dr.operations.read_plan_wal import read_plan_wal
from kb_dr.ports import Codec, Repository

_EVER = datetime.min.replace(tzinfo=UTC)
_LEAD = 2
"""Segments read before the one a bisection points at: transactions take their time a moment
before they write it, so that times in WAL are not quite in order."""
_AHEAD = 4
MOST_SEGMENTS_BACK = 64
"""How far back the newest transaction is looked for."""


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a stretch of WAL ends."""

    end: Lsn
    last_record: Lsn
    """Where the last record begins: the newest position that can be asked for."""
    last_transaction: WalPoint | None
    covered_until: datetime | None
    """The newest moment it covers: of its last transaction, or of a restore point behind that."""


def _tip(reader: WalReader) -> Tip | None:
    tip, last = reader.tip(), reader.last_record
    if tip is None or last is None:
        return None
    moments = [point.at for point in tip.restore_points]
    if tip.last_transaction is not None:
        moments.append(tip.last_transaction.at)
    return Tip(tip.end, last, tip.last_transaction, max(moments, default=None))


@dataclass(slots=True)
class WalSearch:
    """Reads the WAL of one listed archive, and remembers when each segment begins."""

    repository: Repository
    codec: Codec
    system_identifier: int
    archive: ListedArchive
    _first_times: dict[Segment, datetime | None] = field(default_factory=dict)
    _tips: dict[Segment, "Tip | None"] = field(default_factory=dict)

    def find_stop(self, timeline: int, run: Sequence[Segment], target: PointTarget) -> Stop | None:
        """Where replay stops in one stretch of what this timeline wrote; None: not in there.

        Raises what reading raises, WalDamaged when WAL ends inside the stretch.
        """
        begin = self.archive.own_begin(timeline)
        rule = stop_rule(target, begin=begin)
        match target:
            case AtTime():
                # Not found after the bisection: nothing there ended later.
                return self.scan(run[max(self._bisect(run, target.at, begin) - _LEAD, 0) :], rule)
            case AtLsn():
                at = max(target.lsn // run[0].segment_bytes - run[0].number, 0)
                if at >= len(run):
                    return None
                return self.scan(run[max(at - _LEAD, 0) :], rule)
            case AtName():
                return self.scan(run, rule)

    def find_names(self, timeline: int, run: Sequence[Segment], target: AtName) -> list[Stop]:
        """Every restore point of that name in one stretch."""
        found: list[Stop] = []
        begin, rest = self.archive.own_begin(timeline), run
        while (stop := self.scan(rest, stop_rule(target, begin=begin))) is not None:
            found.append(stop)
            begin = stop.read_to
            rest = [each for each in rest if each.end > stop.read_to]
        return found

    def first_transaction(self, segment: Segment, begin: Lsn) -> datetime | None:
        """When the first transaction that ended in a segment did; None when none did."""
        if segment not in self._first_times:
            reader = WalReader(StopRule(begin, at=_EVER))
            # Only looked at on the way: damage there is told when it is read for good.
            with suppress(WalDamaged):
                reader.feed(segment.name, self._read(self.archive.segments[segment]))
            self._first_times[segment] = reader.stop.at if reader.stop else None
        return self._first_times[segment]

    def first_of(self, timeline: int, run: Sequence[Segment]) -> datetime | None:
        """When the first transaction of a stretch ended."""
        begin = self.archive.own_begin(timeline)
        times = (self.first_transaction(segment, begin) for segment in run)
        return next((at for at in times if at is not None), None)

    def last_of(self, run: Sequence[Segment]) -> datetime | None:
        """When the last transaction of a stretch ended."""
        tip = self.tip_of(run)
        return tip.last_transaction.at if tip and tip.last_transaction else None

    def tip_of(self, run: Sequence[Segment]) -> "Tip | None":
        """How far a stretch reaches, with the newest transaction of its last 64 segments."""
        last = run[-1]
        if last not in self._tips:
            count = 2
            while True:
                reader = WalReader()
                for segment in run[-count:]:
                    reader.feed(segment.name, self._read(self.archive.segments[segment]))
                tip = reader.tip()
                if (tip is not None and tip.last_transaction) or count >= len(run):
                    break
                if tip is not None and count >= MOST_SEGMENTS_BACK:
                    break
                count *= 4
            self._tips[last] = _tip(reader)
        return self._tips[last]

    def _bisect(self, run: Sequence[Segment], at: datetime, begin: Lsn) -> int:
        """The index of the last segment that begins, in time, not after ``at``."""
        low, high = 0, len(run)
        while high - low > 1:
            middle = (low + high) // 2
            probe, first = middle, self.first_transaction(run[middle], begin)
            while first is None and probe + 1 < high:
                # Nothing ended in it (an idle server): the next one says.
                probe += 1
                first = self.first_transaction(run[probe], begin)
            if first is None or first > at:
                high = middle
            else:
                low = probe
        return low

    def scan(self, run: Sequence[Segment], rule: StopRule) -> Stop | None:
        """Where a reader stops that reads on and on from the first of these segments."""
        reader = WalReader(rule)
        for segment, content in self._ahead(run):
            reader.feed(segment.name, content, system_identifier=self.system_identifier)
            if reader.stop is not None:
                return reader.stop
        return None

    def _ahead(self, run: Sequence[Segment]) -> Iterator[tuple[Segment, bytes]]:
        """The contents, read by several threads, no more than a few ahead."""
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="find-stop") as pool:
            for start in range(0, len(run), _AHEAD):
                part = run[start : start + _AHEAD]
                yield from zip(part, pool.map(self._read, self.archive.usable(part)), strict=True)

    def _read(self, file: WalFile) -> bytes:
        return read_plan_wal(
            self.repository, self.codec, file, system_identifier=self.system_identifier
        )
