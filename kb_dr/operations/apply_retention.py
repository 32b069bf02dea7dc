"""Carry out a retention plan of one copy: manifests, then objects, then WAL.

Children go before what they are built upon, and nothing goes that anything standing needs. WAL is
last: it was listed whole when the plan was made. Each step may be done again; what a run that was
killed left undone, the next one does.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.retention import WalRange
from kb_dr.errors import NoUsableBackup, RetentionBlocked, WalGap
from kb_dr.operations.catalog import entries_besides
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.operations.plan_copy_retention import CopyRetention
from kb_dr.operations.purge_backup import Dealt, Outcome, PurgeTools, expire_backup, purge_backup
from kb_dr.operations.purge_wal import PurgedWal, purge_wal
from kb_dr.operations.purged_wal import note_purged_wal
from kb_dr.operations.tombstones import stand_again
from kb_dr.operations.undelete_backup import undelete_backup
from kb_dr.ports import Clock, Progress, Repository

logger = logging.getLogger(__name__)

_LONGEST_RUN = timedelta(hours=48)
"""A backup that began earlier has ended, and its manifest was read for the plan."""


@dataclass(frozen=True, slots=True)
class AppliedRetention:
    """What was done to one copy."""

    copy: str
    fingerprint: str
    """Of the plan that was carried out."""
    dealt: tuple[Dealt, ...]
    """Every backup something was done with, or was to be."""
    wal: PurgedWal
    notes: tuple[str, ...]
    """What the plan said, and what was left to the next run."""

    def count(self, outcome: Outcome) -> int:
        """How many backups that became of."""
        return sum(each.outcome is outcome for each in self.dealt)


def apply_retention(
    repository: Repository,
    places: Sequence[Repository],
    clock: Clock,
    progress: Progress,
    retention: CopyRetention,
    *,
    at_once: int = 4,
) -> AppliedRetention:
    """Do what the plan says, and no more: what came since it was made is spared for it.

    ``places`` are all copies, as for the plan. Raises RetentionBlocked before anything is done
    when something could not be read, or the plan was made only to be shown; and what the
    repositories raise: what was done by then stands, and the rest is for the next run.
    """
    plan, gathered = retention.plan, retention.gathered
    if retention.only_shown:
        raise RetentionBlocked(
            f"apply retention to {plan.copy}: its plan was made to be shown, of what was read "
            "before, expected one that was read to delete by",
            hint="Make it anew: `kb-dr retention plan`.",
        )
    if gathered.problems or gathered.unreadable:
        first = next(iter((*gathered.problems, *gathered.unreadable.values())))
        count = len(gathered.problems) + len(gathered.unreadable)
        raise RetentionBlocked(
            f"apply retention to {plan.copy}: {count} records cannot be read: {first}"
        )
    standing = _Standing(repository, retention)
    tools = PurgeTools(repository, places, clock, standing.built_upon, at_once)
    dealt: list[Dealt] = []
    expire = [BackupId.parse(each.id) for each in reversed(plan.expire)]
    why = {each.id: each for each in plan.expire}
    progress.begin(f"retention of {plan.copy}")
    try:
        dealt += _bring_back(tools, retention)
        for backup in expire:
            decision = why[str(backup)]
            done = expire_backup(tools, backup, decision.digest, "; ".join(decision.reasons))
            dealt.append(done)
            if done.outcome in (Outcome.EXPIRED, Outcome.GONE):
                standing.went(str(backup))
        tools = replace(tools, needed_by=standing.objects_needed_by)
        for name in reversed(plan.purge_now):
            done = purge_backup(tools, BackupId.parse(name))
            dealt.append(done)
            if done.outcome in (Outcome.PURGED, Outcome.GONE):
                standing.purged(name)
        ranges, notes = standing.wal_still_due(plan.wal)
        clusters = retention.boundaries.clusters
        note_purged_wal(
            repository, clock, ranges, {name: each.segment_bytes for name, each in clusters.items()}
        )
        wal = purge_wal(repository, ranges, retention.boundaries, at_once=at_once)
    finally:
        progress.end()
    if wal.retained:
        notes += (f"{wal.retained} WAL files are retained by the store; the next run tries again",)
    for each in dealt:
        if each.outcome in (Outcome.RETAINED, Outcome.SPARED):
            logger.warning("%s %s: %s", each.backup_id, each.outcome, each.detail)
    return AppliedRetention(plan.copy, plan.fingerprint, tuple(dealt), wal, (*plan.notes, *notes))


def _bring_back(tools: PurgeTools, retention: CopyRetention) -> Iterator[Dealt]:
    """Mend what runs that were cut off, or raced with a backup, left behind."""
    plan, gathered = retention.plan, retention.gathered
    kept = {each.id for each in plan.decisions if each.keep}
    for name in gathered.interrupted:
        if name in kept:
            reason = "its manifest stands, and it is kept"
            stand_again(tools.repository, tools.others, tools.clock, BackupId.parse(name), reason)
    expired = {each.backup.id for each in gathered.expired}
    for candidate in gathered.candidates:
        if candidate.id not in kept or candidate.parent not in expired:
            continue
        reason = f"{candidate.id}, which stands, is built upon it"
        try:
            undeleted = undelete_backup(
                tools.repository,
                tools.others,
                tools.clock,
                BackupId.parse(candidate.parent),
                reason=reason,
                until=None,  # nothing purges it while its child stands
            )
        except (NoUsableBackup, WalGap) as error:
            logger.warning("%s cannot be restored: %s", candidate.id, error)
            continue
        for name in undeleted.brought_back:
            yield Dealt(name, Outcome.BROUGHT_BACK, reason)


class _Standing:
    """Which backups stand, those included that came after the plan was made; a dump that came is
    built upon nothing, and needs no WAL.
    """

    def __init__(self, repository: Repository, retention: CopyRetention) -> None:
        self._repository = repository
        self._since = f"{retention.plan.at - _LONGEST_RUN:%Y%m%d-%H%M%S}"
        self._looked = False
        self._known: set[tuple[BackupKind, str]] = set()
        self._children: dict[str, set[str]] = defaultdict(set)
        self._parent: dict[str, str] = {}
        self._new: list[StoredManifest] = []
        self._objects_of: dict[str, set[str]] = defaultdict(set)
        for each in retention.gathered.candidates:
            self._add(each.id, each.parent)
        for expired in retention.gathered.expired:
            if expired.backup.parent is not None:
                self._objects_of[expired.backup.parent].add(expired.backup.id)

    def built_upon(self, backup_id: str) -> str | None:
        """A backup that stands and cannot be restored without this one."""
        # Whole at first: a second listing sees what the plan's may have missed.
        self._look(self._since if self._looked else "")
        self._looked = True
        return next(iter(sorted(self._children.get(backup_id, ()))), None)

    def objects_needed_by(self, backup_id: str) -> str | None:
        """The same, or one that expired, is not purged, and could be brought back."""
        expired = sorted(self._objects_of.get(backup_id, ()))
        return expired[0] if expired else self.built_upon(backup_id)

    def purged(self, backup_id: str) -> None:
        """Its objects are gone: it can be brought back no more."""
        for children in self._objects_of.values():
            children.discard(backup_id)

    def went(self, backup_id: str) -> None:
        """It is built upon nothing any more."""
        parent = self._parent.pop(backup_id, None)
        if parent is not None:
            self._children[parent].discard(backup_id)

    def wal_still_due(
        self, ranges: Sequence[WalRange]
    ) -> tuple[tuple[WalRange, ...], tuple[str, ...]]:
        """The ranges, unless a backup came meanwhile that needs any: one copied here may be old."""
        if not ranges:
            return (), ()
        self._look("")
        for stored in self._new:
            first, _ = needed_segments(stored.manifest)
            system = stored.manifest.source.system_identifier
            if any(
                each.system_identifier == system and each.last[8:24] >= first.name[8:]
                for each in ranges
            ):
                return (), (f"{stored.manifest.id} came meanwhile: WAL is left to the next run",)
        return tuple(ranges), ()

    def _look(self, since: str) -> None:
        for entry in entries_besides(self._repository, self._known, since=since):
            if not isinstance(entry, StoredManifest):
                raise RetentionBlocked(f"look for new backups of {entry.copy}: {entry.why}")
            self._new.append(entry)
            self._add(entry.manifest.id, entry.manifest.parent)

    def _add(self, backup_id: str, parent: str | None) -> None:
        backup = BackupId.parse(backup_id)
        self._known.add((backup.kind, backup.stamp))
        if parent is not None:
            self._children[parent].add(backup_id)
            self._parent[backup_id] = parent
