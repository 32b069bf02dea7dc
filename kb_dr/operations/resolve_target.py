"""Find the one place in a copy's WAL that a target means, whatever timelines there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.recovery_target import AtLsn, AtName, AtTime, PointTarget
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import Stop, WalPoint
from kb_dr.errors import NoUsableBackup, TargetUnreachable, TimelineForked
from kb_dr.operations.find_stop import WalSearch

CLOCK_SLACK = timedelta(seconds=120)
"""The clock of whoever asks may be so far behind the one that wrote the WAL."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where replay stops for a target, and on which timeline."""

    timeline: int
    stop: Stop
    live: bool
    """Whether this timeline was being written at that moment: something was committed on it both
    before and after. False for a moment before its first transaction."""

    def is_on(self, search: WalSearch, timeline: int) -> bool:
        """Whether a recovery along the line of ``timeline`` passes this place."""
        lineage = search.archive.lineage(timeline)
        last = self.stop.last_transaction
        # What stands between the last transaction and the stop belongs to nobody.
        at = last.lsn if self.live and last is not None else self.stop.lsn
        return lineage is not None and lineage.contains(self.timeline, at)


def resolve_target(
    search: WalSearch,
    target: PointTarget,
    manifests: Sequence[Manifest],
    *,
    timeline: int | None,
    now: datetime,
) -> Place:
    """The place ``target`` means, on ``timeline`` where one is asked for.

    Raises TimelineForked when it lies on another timeline's future, or on several and none was
    asked for; TargetUnreachable when it lies in the future, behind the newest archived
    transaction, inside a gap, or is not known at all; and what reading WAL raises.
    """
    if isinstance(target, AtTime) and target.at > now + CLOCK_SLACK:
        raise TargetUnreachable(
            f"recover to {target}: it lies in the future, now is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint="Nobody can know that state yet; look at the date, the time and the zone.",
        )
    if timeline is not None:
        _require_timeline(search, timeline)
    found = list(_places(search, target, manifests))
    # Before the first transaction of several timelines: the oldest of them came next.
    live = [place for place in found if place.live] or found[:1]
    if timeline is not None:
        return _on_timeline(search, target, manifests, timeline, live, found)
    if len(live) == 1:
        _require_nothing_abandoned(search, target, live[0])
        return live[0]
    if live:
        raise TimelineForked(
            f"recover to {target}: it means another state on each of timelines "
            f"{_listed(place.timeline for place in live)}",
            hint=f"Say which with --target-timeline. {_forks(search)}",
        )
    raise _not_there(search, target, manifests)


def _require_nothing_abandoned(search: WalSearch, target: PointTarget, place: Place) -> None:
    """Between two timelines nothing was written; refuse when the older one had gone farther than
    the younger one took over: which of the two states is meant is not ours to guess.
    """
    lineage = search.archive.lineages.get(place.timeline)
    parent = lineage.parent if lineage is not None else None
    runs = search.archive.own_runs(parent) if parent is not None else []
    if place.live or not isinstance(target, AtTime) or lineage is None or not runs:
        return
    tip = search.tip_of(runs[-1])
    last = tip.last_transaction if tip is not None else None
    if last is not None and last.lsn > lineage.begin_of(place.timeline) and last.at <= target.at:
        raise TimelineForked(
            f"recover to {target}: nothing was written then: timeline {parent} ended at "
            f"{last.at:%Y-%m-%d %H:%M:%S.%fZ}, and timeline {place.timeline}, which begins later, "
            "took over less of it",
            hint=f"For the end of timeline {parent}: --latest --target-timeline {parent}; for what "
            f"timeline {place.timeline} began with: --target-timeline {place.timeline}.",
        )


def _places(
    search: WalSearch, target: PointTarget, manifests: Sequence[Manifest]
) -> Iterable[Place]:
    if isinstance(target, AtName):
        recorded = [each for each in manifests if each.fingerprint.restore_point == target.name]
        if recorded:
            for each in recorded:
                yield Place(each.wal.timeline, _recorded_stop(each), live=True)
            return
    for timeline in sorted(search.archive.with_wal):
        for number, run in enumerate(search.archive.own_runs(timeline)):
            stop = search.find_stop(timeline, run, target)
            if stop is None:
                continue
            if isinstance(target, AtLsn) and (
                target.lsn < search.archive.own_begin(timeline)
                or (number and target.lsn < run[0].start)
            ):
                break  # it was written on an older timeline, or lies in the gap before this stretch
            before_all = stop.last_transaction is None or not _own(search, timeline, stop)
            if isinstance(target, AtTime) and number and before_all:
                break  # it lies before this stretch, and behind the one before: in the gap
            yield Place(timeline, stop, live=not (isinstance(target, AtTime) and before_all))
            break


def _own(search: WalSearch, timeline: int, stop: Stop) -> bool:
    """Whether the last transaction before the stop was of this very timeline.

    The oldest timeline known has no beginning: whatever it holds is its own.
    """
    begin = search.archive.own_begin(timeline)
    last = stop.last_transaction
    return last is not None and last.lsn > begin


def _recorded_stop(manifest: Manifest) -> Stop:
    """A backup's own restore point: its manifest says where it stands."""
    lsn = manifest.fingerprint.lsn
    return Stop(lsn, lsn, manifest.finished, None, WalPoint(lsn, manifest.finished))


def _require_timeline(search: WalSearch, timeline: int) -> None:
    if timeline in search.archive.with_wal and search.archive.lineage(timeline) is not None:
        return
    raise TimelineForked(
        f"follow timeline {timeline}: there is no such timeline here, expected one of "
        f"{_listed(search.archive.with_wal)}",
        hint="`kb-dr wal audit` lists the timelines of this copy.",
    )


def _on_timeline(
    search: WalSearch,
    target: PointTarget,
    manifests: Sequence[Manifest],
    timeline: int,
    live: Sequence[Place],
    found: Sequence[Place],
) -> Place:
    lineage = search.archive.lineages[timeline]
    if isinstance(target, AtLsn):
        along = [each for each in found if lineage.timeline_at(target.lsn) == each.timeline]
    else:
        along = [each for each in live if each.is_on(search, timeline)]
    if along:
        return max(along, key=lambda each: each.timeline)
    if live:
        other = _listed(each.timeline for each in live)
        raise TimelineForked(
            f"recover to {target} on timeline {timeline}: that is in the future of timeline "
            f"{other}, which timeline {timeline} does not share",
            hint=f"Leave --target-timeline out, or give {other}. {_forks(search)}",
        )
    raise _not_there(search, target, manifests)


def before_every_backup(copy: str, target: PointTarget, oldest: Manifest) -> NoUsableBackup:
    """The refusal of a target older than anything that is kept."""
    earliest = f"{oldest.finished:%Y-%m-%dT%H:%M:%SZ}"
    return NoUsableBackup(
        f"recover to {target} from {copy}: it lies before every backup; the oldest, {oldest.id}, "
        f"was whole at {earliest}",
        hint=f"The earliest moment that can be reached is {earliest}, LSN {oldest.wal.stop}.",
    )


def _not_there(
    search: WalSearch, target: PointTarget, manifests: Sequence[Manifest]
) -> TargetUnreachable | NoUsableBackup:
    """Why no stretch of WAL holds the target."""
    if isinstance(target, AtName):
        return TargetUnreachable(
            f"recover to {target}: no such restore point in the WAL of {search.repository.name}",
            hint="`kb-dr show ID` names a backup's own restore point; case matters.",
        )
    oldest = min(manifests, key=lambda each: each.finished)
    if isinstance(target, AtTime) and target.at < oldest.started:
        return before_every_backup(search.repository.name, target, oldest)
    gap = _gap_around(search, target)
    if gap is not None:
        before, after = gap
        return TargetUnreachable(
            f"recover to {target}: it lies in a gap of the archive of {search.repository.name}: "
            f"segments from {before.next().name} on are missing, {after.name} stands again",
            hint="Choose a moment in one of the recoverable windows, or another copy with --from.",
        )
    lost = search.archive.without_history
    if lost:
        return TargetUnreachable(
            f"recover to {target}: not in the WAL of {search.repository.name} that can be "
            f"followed; the history file of timeline {_listed(lost)} is missing",
            hint="Another copy may have it: --from. The server that wrote that timeline has it in "
            "pg_wal: `kb-dr wal push` it.",
        )
    newest = _newest(search)
    seen = f"it is of {newest.at:%Y-%m-%d %H:%M:%S.%fZ}" if newest else "there is none yet"
    return TargetUnreachable(
        f"recover to {target}: it lies behind the newest archived commit of "
        f"{search.repository.name}: {seen}",
        hint="`--latest` restores all there is; WAL that has not arrived yet may reach farther.",
    )


def _gap_around(search: WalSearch, target: AtTime | AtLsn) -> tuple[Segment, Segment] | None:
    """The segments before and behind the gap that a target lies in."""
    for timeline in sorted(search.archive.with_wal):
        runs = search.archive.own_runs(timeline)
        for before, after in pairwise(runs):
            if isinstance(target, AtLsn):
                inside = before[-1].end <= target.lsn < after[0].start
            else:
                ends, begins = search.last_of(before), search.first_of(timeline, after)
                inside = (
                    ends is not None and begins is not None and ends <= target.at <= begins
                )  # fmt: skip
            if inside:
                return before[-1], after[0]
    return None


def _newest(search: WalSearch) -> WalPoint | None:
    points = []
    for timeline in search.archive.with_wal:
        tip = search.tip_of(search.archive.own_runs(timeline)[-1])
        if tip is not None and tip.last_transaction is not None:
            points.append(tip.last_transaction)
    return max(points, key=lambda each: each.at, default=None)


def _forks(search: WalSearch) -> str:
    """Where each timeline left its parent, for a hint."""
    lines = [
        f"timeline {lineage.timeline} left {lineage.parent} at {lineage.branches[-1].end}"
        for lineage in search.archive.lineages.values()
        if lineage.branches
    ]
    return f"Here, {'; '.join(lines)}." if lines else ""


def _listed(timelines: Iterable[int]) -> str:
    return " and ".join(str(each) for each in sorted(set(timelines))) or "none"
