"""Say why a target is not in a copy's WAL, and where it is instead."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import pairwise

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.recovery_target import AtLsn, AtName, AtTime, PointTarget
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import WalPoint
from kb_dr.errors import NoUsableBackup, TargetUnreachable
from kb_dr.operations.find_stop import WalSearch

CLOCK_SLACK = timedelta(seconds=120)
"""So far the clocks of this host and of the server may be apart."""

_ALL_THERE_IS = "`--latest` restores all there is; WAL that has not arrived yet may reach farther."


def before_every_backup(copy: str, target: PointTarget, oldest: Manifest) -> NoUsableBackup:
    """The refusal of a target older than anything that is kept."""
    earliest = f"{oldest.finished:%Y-%m-%dT%H:%M:%SZ}"
    return NoUsableBackup(
        f"recover to {target} from {copy}: it lies before every backup; the oldest, {oldest.id}, "
        f"was whole at {earliest}",
        hint=f"The earliest moment that can be reached is {earliest}, LSN {oldest.wal.stop}.",
    )


def not_there(
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
            f"followed; the history file of timeline {listed(lost)} is missing",
            hint="Another copy may have it: --from. The server that wrote that timeline has it in "
            "pg_wal: `kb-dr wal push` it.",
        )
    if isinstance(target, AtLsn):
        ends = [
            search.tip_of(search.archive.own_runs(each)[-1]) for each in search.archive.with_wal
        ]
        end = max((tip.last_record for tip in ends if tip is not None), default=None)
        return TargetUnreachable(
            f"recover to {target}: it lies behind the newest archived record of "
            f"{search.repository.name}, which begins at {end}",
            hint=_ALL_THERE_IS,
        )
    newest = _newest(search)
    seen = f"it is of {newest.at:%Y-%m-%d %H:%M:%S.%fZ}" if newest else "there is none yet"
    return TargetUnreachable(
        f"recover to {target}: it lies behind the newest archived commit of "
        f"{search.repository.name}: {seen}",
        hint=_ALL_THERE_IS,
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


def forks(search: WalSearch) -> str:
    """Where each timeline left its parent, for a hint."""
    lines = [
        f"timeline {lineage.timeline} left {lineage.parent} at {lineage.branches[-1].end}"
        for lineage in search.archive.lineages.values()
        if lineage.branches
    ]
    return f"Here, {'; '.join(lines)}." if lines else ""


def listed(timelines: Iterable[int]) -> str:
    return " and ".join(str(each) for each in sorted(set(timelines))) or "none"
