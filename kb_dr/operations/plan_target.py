"""From what somebody asks for to a plan: which backup, and how far."""

from dataclasses import dataclass

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.recovery_target import Latest, PointTarget, RecoveryTarget
from kb_dr.domain.wording import first_few
from kb_dr.errors import NoUsableBackup, TimelineForked
from kb_dr.operations.backup_chain import chains_in
from kb_dr.operations.catalog import (
    CatalogEntry,
    lean_entry,
    load_catalog,
    read_manifest,
    readable,
    unreadable,
)
from kb_dr.operations.choose_backup import LATEST, choose_backup, known_to_be_bad
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.needed_wal import refuse_dump
from kb_dr.operations.plan_point_recovery import plan_point_recovery
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr.ports import Clock, Codec, Repository


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks a restore for."""

    target: RecoveryTarget = Latest()  # noqa: RUF009 - a frozen value without fields
    backup: BackupId | None = None
    """None: the best one."""
    timeline: int | None = None
    """None: the one that was written at the target; for latest, the newest."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A recovery from one copy, and the newer backups it does without."""

    recovery: RecoveryPlan
    passed_over: tuple[str, ...] = ()


def plan_target(
    repository: Repository,
    codec: Codec,
    clock: Clock,
    wanted: Wanted,
    known: KnownEntries[CatalogEntry] | None = None,
) -> Planned:
    """The recovery from this copy that gives what is wanted; nothing is changed.

    ``known`` as in load_catalog(); the backup that is chosen is read again.

    A backup that is known to be bad, or whose chain is broken, is passed over unless it is asked
    for by its id. Raises what choose_backup(), plan_recovery() and plan_point_recovery() raise.
    """
    target = wanted.target
    if isinstance(target, Latest):
        return _plan_to_the_end(repository, codec, clock, wanted)
    if wanted.backup is not None:
        asked = read_manifest(repository, wanted.backup)
        refuse_dump(asked.manifest)
        catalog = load_catalog(repository, known, shape=lean_entry)
        others = [each for each in readable(catalog) if each.manifest.id != asked.manifest.id]
        plan = plan_point_recovery(
            repository,
            codec,
            sorted([*others, asked], key=lambda each: each.manifest.started),
            target,
            clock,
            timeline=wanted.timeline,
            only=wanted.backup,
        )
        return Planned(plan)
    return _plan_to_a_point(repository, codec, clock, target, wanted.timeline, known)


def _plan_to_the_end(repository: Repository, codec: Codec, clock: Clock, wanted: Wanted) -> Planned:
    """From the newest backup; with a timeline asked for, from the newest that leads onto it."""
    which = str(wanted.backup) if wanted.backup else LATEST
    stray: dict[str, str] = {}
    refused: TimelineForked | None = None
    while True:
        try:
            chosen = choose_backup(repository, which, excluded=stray)
        except NoUsableBackup:
            if refused is not None:
                raise refused from None
            raise
        try:
            plan = plan_recovery(
                repository,
                codec,
                chosen.stored,
                clock,
                timeline=wanted.timeline,
                # Of itself nobody is given a state of long ago for the latest.
                where_purged=wanted.backup is not None,
            )
        except TimelineForked as error:
            if wanted.backup is not None:
                raise
            refused = refused or error
            stray[chosen.stored.manifest.id] = str(error)
            continue
        return Planned(plan, chosen.passed_over)


def _plan_to_a_point(
    repository: Repository,
    codec: Codec,
    clock: Clock,
    target: PointTarget,
    timeline: int | None,
    known: KnownEntries[CatalogEntry] | None,
) -> Planned:
    catalog = load_catalog(repository, known, shape=lean_entry)
    broken = chains_in(catalog).broken
    backups = [each for each in readable(catalog) if each.manifest.id not in broken]
    passed_over = [f"{each.key}: {each.why}" for each in unreadable(catalog)]
    passed_over += [f"{each}: {why}" for each, why in broken.items()]
    while True:
        if not backups:
            seen = f"; passed over: {'; '.join(first_few(passed_over))}" if passed_over else ""
            raise NoUsableBackup(
                f"recover to {target}: no backup in {repository.name} ({repository.url}){seen}",
                hint="`kb-dr list` shows what there is; try the other copy with --from.",
            )
        plan = plan_point_recovery(repository, codec, backups, target, clock, timeline=timeline)
        why = known_to_be_bad(repository, plan.chain)
        if why is None:
            return Planned(plan, tuple(passed_over))
        passed_over.append(f"{plan.stored.manifest.id}: {why}")
        backups = [each for each in backups if each.manifest.id != plan.stored.manifest.id]
