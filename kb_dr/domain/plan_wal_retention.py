"""Decide which WAL goes from one copy (K2), once it is decided which backups stay.

WAL stays from the start of every retained backup on that is as young as the oldest retained daily
one, and of the newest of each cluster; what the store took in less than ``wal_days`` before that
daily one; and what any backup whose objects stand needs to become consistent. History files
always stay. Of a cluster without a backup nothing goes, and it is named. A dump needs no WAL: it
keeps none, and lets none go.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, ExpiredBackup, RetentionPlan, WalRange
from kb_dr.domain.retention_policy import RetentionPolicy, Tier
from kb_dr.domain.wal_names import Segment, is_backup_label, is_partial, is_segment
from kb_dr.domain.wording import moment

MOST_RANGES = 50_000
"""So many are planned at once; what lies behind them goes the next time."""


@dataclass(frozen=True, slots=True)
class ListedWal:
    """One WAL file as a listing names it."""

    system_identifier: int
    name: str
    size_bytes: int
    modified: datetime
    """By the store's clock."""


@dataclass(frozen=True, slots=True)
class WalBoundaries:
    """What WAL is needed for, cluster by cluster."""

    young_since: datetime | None
    """What was stored since then stays; None: everything stays."""
    why: str
    """Why everything stays, or what ``young_since`` is counted from; for people."""
    clusters: Mapping[int, "ClusterWal"] = field(default_factory=dict)

    def keeps(self, listed: ListedWal) -> bool:
        """Whether a file stays. What is no segment, and not named after one, stays."""
        if self.young_since is None or listed.modified >= self.young_since:
            return True
        cluster = self.clusters.get(listed.system_identifier)
        if cluster is None:
            return True
        segment = _segment_of(listed.name, cluster.segment_bytes)
        return segment is None or cluster.needs(segment)


@dataclass(frozen=True, slots=True)
class ClusterWal:
    """What is needed of the WAL of one cluster."""

    segment_bytes: int
    onwards: tuple[tuple[int, int], ...]
    """Timeline and segment number, ascending: on this timeline and every later one all WAL from
    this number on is needed. Numbers fall from one to the next."""
    stretches: Mapping[int, tuple[tuple[int, int], ...]]
    """Timeline to first and last number of what is needed apart from that; ascending, disjoint."""

    def needs(self, segment: Segment) -> bool:
        """Whether a segment is needed by any backup."""
        at = bisect_right(self.onwards, segment.timeline, key=lambda each: each[0])
        if at and segment.number >= self.onwards[at - 1][1]:
            return True
        stretches = self.stretches.get(segment.timeline, ())
        at = bisect_right(stretches, segment.number, key=lambda each: each[0])
        return at > 0 and segment.number <= stretches[at - 1][1]


def wal_boundaries(
    plan: RetentionPlan,
    candidates: Iterable[Candidate],
    policy: RetentionPolicy,
    expired: Iterable[ExpiredBackup] = (),
) -> WalBoundaries:
    """What WAL stays when this plan is carried out. The arguments are those of the plan."""
    if plan.stopped:
        return WalBoundaries(None, "nothing goes")
    kept_ids = {each.id for each in plan.decisions if each.keep}
    daily_ids = {
        each.id
        for each in plan.decisions
        if each.keep and (Tier.DAILY in each.tiers or Tier.DAILY in each.owed)
    }
    all_here = tuple(each for each in candidates if each.wal is not None)
    all_expired = [each.backup for each in expired if each.backup.wal is not None]
    kept = [each for each in all_here if each.id in kept_ids]
    # The newest proven one is never older than all of these: its day has a daily backup, and that
    # tier sheds nothing newer than what is proven in it.
    since = min((each.started for each in kept if each.id in daily_ids), default=None)
    if since is None:
        return WalBoundaries(None, "no daily backup is retained, so all WAL is")
    going = frozenset(plan.purge_now)
    # What expires now can be brought back for a while.
    needed = [*all_here, *(each for each in all_expired if each.id not in going)]
    anchors = [each for each in kept if each.started >= since]
    # Whatever is daily elsewhere, or bears a date ahead of its time: a recovery of any cluster to
    # its newest begins with these, and the next increment may be built upon them.
    anchors += _newest_of_each_cluster(kept)
    segment_bytes: dict[int, set[int]] = {}
    for each in (*needed, *all_expired):
        sizes = segment_bytes.setdefault(each.system_identifier, set())
        sizes.add(each.segments[0].segment_bytes)
    onwards, stretches = _by_cluster(anchors), _by_cluster(needed)
    return WalBoundaries(
        young_since=since - timedelta(days=policy.wal_days),
        why=f"{policy.wal_days} days before {moment(since)}, the oldest retained daily backup",
        clusters={
            system: ClusterWal(
                segment_bytes=sizes.pop(),
                onwards=_onwards(onwards.get(system, ())),
                stretches=_stretches(stretches.get(system, ())),
            )
            for system, sizes in segment_bytes.items()
            # Numbers of segments of two sizes cannot be compared: all of it stays.
            if len(sizes) == 1
        },
    )


def _newest_of_each_cluster(kept: Iterable[Candidate]) -> list[Candidate]:
    """The newest kept backup of each cluster, and the newest whose proof has not failed."""
    newest: dict[tuple[int, bool], Candidate] = {}
    for each in sorted(kept, key=lambda backup: (backup.started, backup.finished, backup.id)):
        newest[each.system_identifier, True] = each
        if each.standing is not Standing.FAILED:
            newest[each.system_identifier, False] = each
    return list(newest.values())


def plan_wal(
    listed: Iterable[ListedWal], boundaries: WalBoundaries
) -> tuple[tuple[WalRange, ...], tuple[str, ...]]:
    """What WAL goes, and what was left alone; in memory that does not grow with the listing.

    ``listed`` comes in order of cluster, timeline and name, as keys are listed; ValueError where
    it does not. Whoever removes a range asks ``keeps`` again of each file that stands in it then.
    """
    ranges: list[WalRange] = []
    strangers: Counter[int] = Counter()
    left = 0
    current: WalRange | None = None
    for each in _in_order(listed):
        if boundaries.young_since is not None and (
            each.system_identifier not in boundaries.clusters
        ):
            strangers[each.system_identifier] += 1
        goes = not boundaries.keeps(each)
        if current is not None and not (goes and _continues(current, each)):
            ranges.append(current)
            current = None
        if not goes:
            continue
        if current is not None:
            current = _with(current, each)
        elif len(ranges) < MOST_RANGES:
            current = _with(None, each)
        else:
            left += 1
    if current is not None:
        ranges.append(current)
    notes = [
        f"{count} WAL files of cluster {system} are left alone: no backup here tells what they are "
        "needed for"
        for system, count in sorted(strangers.items())
    ]
    if boundaries.young_since is None:
        notes.append(f"no WAL goes: {boundaries.why}")
    if left:
        notes.append(f"{left} more WAL files go the next time: they stand in too many places")
    return tuple(ranges), tuple(notes)


def _in_order(listed: Iterable[ListedWal]) -> Iterator[ListedWal]:
    before: tuple[str, str, str] | None = None
    for each in listed:
        here = (str(each.system_identifier), each.name[:8], each.name)
        if before is not None and here < before:
            raise ValueError(f"WAL is listed out of order: {each.name} after {before[2]}")
        before = here
        yield each


def _continues(current: WalRange, listed: ListedWal) -> bool:
    return (current.system_identifier, current.timeline) == (
        listed.system_identifier,
        int(listed.name[:8], 16),
    )


def _with(current: WalRange | None, listed: ListedWal) -> WalRange:
    return WalRange(
        system_identifier=listed.system_identifier,
        timeline=int(listed.name[:8], 16),
        first=current.first if current else listed.name,
        last=listed.name,
        files=(current.files if current else 0) + 1,
        stored_bytes=(current.stored_bytes if current else 0) + listed.size_bytes,
    )


def _segment_of(name: str, segment_bytes: int) -> Segment | None:
    """The segment a file is or is named after; None of a history, and of what is none of ours."""
    if not (is_segment(name) or is_backup_label(name) or is_partial(name)):
        return None
    try:
        return Segment.parse(name[:24], segment_bytes)
    except ValueError:
        return None


def _by_cluster(backups: Iterable[Candidate]) -> dict[int, list[Candidate]]:
    found: dict[int, list[Candidate]] = {}
    for each in backups:
        found.setdefault(each.system_identifier, []).append(each)
    return found


def _onwards(backups: Iterable[Candidate]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for timeline, number in sorted((each.timeline, each.segments[0].number) for each in backups):
        if not found or number < found[-1][1]:
            found.append((timeline, number))
    return tuple(found)


def _stretches(backups: Iterable[Candidate]) -> dict[int, tuple[tuple[int, int], ...]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for timeline, first, last in sorted(
        (each.timeline, *(segment.number for segment in each.segments)) for each in backups
    ):
        known = found.setdefault(timeline, [])
        if known and first <= known[-1][1] + 1:
            known[-1] = (known[-1][0], max(known[-1][1], last))
        else:
            known.append((first, last))
    return {timeline: tuple(known) for timeline, known in found.items()}
