"""Plan the retention of one copy: read it, decide, ask what is locked, and list its WAL whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.plan_retention import with_wal
from kb_dr.domain.plan_wal_retention import ListedWal, WalBoundaries, plan_wal, wal_boundaries
from kb_dr.domain.retention import RetentionPlan
from kb_dr.domain.retention_families import plan_families
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.stored import Listed
from kb_dr.operations.copy_look import CopyLook
from kb_dr.operations.gather_retention import GatheredCopy, gather_retention, with_locks
from kb_dr.ports import Clock, Repository


@dataclass(frozen=True, slots=True)
class CopyRetention:
    """What retention would do to one copy, and what it read to say so."""

    plan: RetentionPlan
    gathered: GatheredCopy
    boundaries: WalBoundaries
    only_shown: bool = False
    """Made of what was read for something else before: nothing is to be deleted by it."""

    @property
    def freed_bytes(self) -> int:
        """What is given back once all of it is purged, WAL included."""
        gone = [*(each.id for each in self.plan.expire), *self.plan.purge_now]
        backups = sum(self.gathered.stored_bytes.get(name, 0) for name in gone)
        return backups + sum(each.stored_bytes for each in self.plan.wal)


def backups_to_prove(
    repository: Repository,
    places: Sequence[Repository],
    clock: Clock,
    policy: RetentionPolicy,
    *,
    service: str,
) -> tuple[str, ...]:
    """The backups whose proof would let a tier of this copy shed what is too old for it.

    Nothing of WAL is listed for that. Raises as plan_copy_retention() does.
    """
    gathered = gather_retention(repository, places, service=service)
    return _plan_backups(gathered, policy, clock.now()).prove_next


def plan_copy_retention(
    repository: Repository,
    places: Sequence[Repository],
    clock: Clock,
    policy: RetentionPolicy,
    *,
    service: str,
    look: CopyLook | None = None,
) -> CopyRetention:
    """What goes from ``repository`` now. Nothing is written.

    ``look``: what was read of it already; apply_retention() refuses a plan that was made with one.

    ``places`` are all copies, this one among them: holds, proofs and controls are read from each,
    and while one of them does not answer nothing goes. Raises what ``repository`` raises.
    """
    gathered = gather_retention(repository, places, service=service, look=look)
    now = clock.now()
    locked: dict[str, datetime | None] = {}
    while True:
        plan = _plan_backups(gathered, policy, now)
        going = [*(each.id for each in plan.expire), *plan.purge_now]
        unasked = [name for name in going if name not in locked]
        # Only of what would go: each answer may cost a request for each of its objects.
        for name in unasked:
            prefix = layout.backup_prefix(BackupId.parse(name))
            locked[name] = repository.retained_until(prefix)
        if not any(locked[name] for name in unasked):
            break
        gathered = with_locks(gathered, locked)
    only_shown = look is not None
    boundaries = wal_boundaries(plan, gathered.candidates, policy, gathered.expired)
    if boundaries.young_since is None:
        plan = with_wal(plan, (), (boundaries.why,))
        return CopyRetention(plan, gathered, boundaries, only_shown)
    ranges, notes = plan_wal(listed_wal(repository), boundaries)
    return CopyRetention(with_wal(plan, ranges, notes), gathered, boundaries, only_shown)


def _plan_backups(gathered: GatheredCopy, policy: RetentionPolicy, now: datetime) -> RetentionPlan:
    plan = plan_families(
        gathered.candidates,
        policy,
        now,
        copy=gathered.copy,
        url=gathered.url,
        newest_stored=gathered.newest_stored,
        expired=gathered.expired,
        unreadable=gathered.unreadable,
        stops=(*gathered.problems, *gathered.stops),
        stops_of=gathered.stops_of,
    )
    lost = tuple(
        f"{each} was proven here and is gone, though retention never let go of it: find out who "
        f"removed it; `kb-dr copy {each} --to {gathered.copy}` brings it from a copy that has it"
        for each in gathered.vanished
    )
    return replace(plan, notes=(*plan.notes, *lost))


def listed_wal(repository: Repository) -> Iterator[ListedWal]:
    """Every WAL file of every cluster, and what was streamed of one, in order."""
    for listed in repository.list(layout.WAL):
        if (each := wal_of(listed)) is not None:
            yield each


def wal_of(listed: Listed) -> ListedWal | None:
    """A listed object as WAL; None when it is none."""
    if (stored := layout.wal_file_of(listed.key)) is not None:
        return ListedWal(stored[0], stored[1], listed.size_bytes, listed.modified)
    if (partial := layout.partial_of(listed.key)) is not None:
        name = f"{partial[1]}.partial"
        return ListedWal(partial[0], name, listed.size_bytes, listed.modified)
    return None
