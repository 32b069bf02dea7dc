"""Find the one place in a copy's WAL that a target means, whatever timelines there are."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.recovery_target import AtLsn, AtName, AtTime, PointTarget
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import Stop, WalPoint
from kb_dr.errors import KbDrError, TargetUnreachable, TimelineForked
from kb_dr.operations.find_stop import WalSearch
from kb_dr.operations.refuse_target import CLOCK_SLACK, forks, listed, not_there


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
        return _on_timeline(search, target, manifests, timeline)
    live = _live(_places(search, target, manifests, search.archive.with_wal))
    if len(live) == 1:
        _require_nothing_abandoned(search, target, live[0])
        return live[0]
    if live:
        raise TimelineForked(
            f"recover to {target}: it means another state on each of timelines "
            f"{listed(place.timeline for place in live)}",
            hint=f"Say which with --target-timeline. {forks(search)}",
        )
    raise not_there(search, target, manifests)


def _require_nothing_abandoned(search: WalSearch, target: PointTarget, place: Place) -> None:
    """Between two timelines nothing was written; refuse when an older one had gone farther than
    the younger one took over: which of the two states is meant is not ours to guess.
    """
    lineage = search.archive.lineages.get(place.timeline)
    if place.live or not isinstance(target, AtTime) or lineage is None:
        return
    for branch in lineage.branches:
        runs = search.archive.own_runs(branch.timeline)
        tip = search.tip_of(runs[-1]) if runs else None
        last = tip.last_transaction if tip is not None else None
        if last is not None and last.lsn > branch.end and last.at <= target.at:
            older, younger = branch.timeline, place.timeline
            raise TimelineForked(
                f"recover to {target}: nothing was written then: timeline {older} ended at "
                f"{last.at:%Y-%m-%d %H:%M:%S.%fZ}, and timeline {younger}, which begins later, "
                "took over less of it",
                hint=f"For the end of timeline {older}: --latest --target-timeline {older}; for "
                f"what timeline {younger} began with: --target-timeline {younger}.",
            )


def _places(
    search: WalSearch, target: PointTarget, manifests: Sequence[Manifest], timelines: Iterable[int]
) -> list[Place]:
    """Where the target lies on each of these timelines; at most one place of each."""
    if isinstance(target, AtName):
        return _named(search, target, manifests, timelines)
    found = []
    for timeline in sorted(timelines):
        for number, run in enumerate(search.archive.own_runs(timeline)):
            stop = search.find_stop(timeline, run, target)
            if stop is None:
                continue
            place = _place(search, target, timeline, stop, run[0] if number else None)
            if place is not None:
                found.append(place)
            break
    return found


def _place(
    search: WalSearch,
    target: AtTime | AtLsn,
    timeline: int,
    stop: Stop,
    behind_a_gap: Segment | None,
) -> Place | None:
    """The place a stop is; None when the target lies elsewhere: before this timeline, or in the gap
    before the segment ``behind_a_gap``.
    """
    if isinstance(target, AtLsn):
        elsewhere = target.lsn < search.archive.own_begin(timeline) or (
            behind_a_gap is not None and target.lsn < behind_a_gap.start
        )
        return None if elsewhere else Place(timeline, stop, live=True)
    own, last = _own(search, timeline, stop), stop.last_transaction
    if not own and (behind_a_gap is not None or (last is not None and last.at > target.at)):
        return None
    return Place(timeline, stop, live=own)


def _named(
    search: WalSearch, target: AtName, manifests: Sequence[Manifest], timelines: Iterable[int]
) -> list[Place]:
    """The one restore point of that name on each timeline; several on one mean several states."""
    # By position: a backup that was encrypted anew bears the restore point of the old one.
    recorded = {
        (each.wal.timeline, each.fingerprint.lsn): each
        for each in manifests
        if each.fingerprint.restore_point == target.name
    }
    if recorded:
        return [
            Place(timeline, _recorded_stop(each), live=True)
            for (timeline, _), each in recorded.items()
            if timeline in set(timelines)
        ]
    places = []
    for timeline in sorted(timelines):
        stops = [
            stop
            for run in search.archive.own_runs(timeline)
            for stop in search.find_names(timeline, run, target)
        ]
        if len(stops) > 1:
            each = "; ".join(f"{s.lsn} of {s.at:%Y-%m-%d %H:%M:%SZ}" for s in stops if s.at)
            raise TargetUnreachable(
                f"recover to {target}: {len(stops)} restore points have that name: {each}",
                hint="Say which by its position: --target-lsn LSN --exclusive.",
            )
        places += [Place(timeline, stop, live=True) for stop in stops]
    return places


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
        f"{listed(search.archive.with_wal)}",
        hint="`kb-dr wal audit` lists the timelines of this copy.",
    )


def _live(found: Sequence[Place]) -> Sequence[Place]:
    """Those that were being written then; before the first transaction of several timelines, the
    oldest of them: it came next.
    """
    return [place for place in found if place.live] or found[:1]


def _on_timeline(
    search: WalSearch, target: PointTarget, manifests: Sequence[Manifest], timeline: int
) -> Place:
    """The place on one line of timelines; what stands on others, damaged or not, does no harm."""
    lineage = search.archive.lineages[timeline]
    line = search.archive.with_wal & set(lineage.timelines)
    found = _places(search, target, manifests, line)
    live = _live(found)
    if isinstance(target, AtLsn):
        along = [each for each in found if lineage.timeline_at(target.lsn) == each.timeline]
    else:
        along = [each for each in live if each.is_on(search, timeline)]
    if along:
        return max(along, key=lambda each: each.timeline)
    if not live:
        with suppress(KbDrError):
            live = _live(_places(search, target, manifests, search.archive.with_wal - line))
    if live:
        other = listed(each.timeline for each in live)
        raise TimelineForked(
            f"recover to {target} on timeline {timeline}: that is in the future of timeline "
            f"{other}, which timeline {timeline} does not share",
            hint=f"Leave --target-timeline out, or give {other}. {forks(search)}",
        )
    raise not_there(search, target, manifests)
