"""Negative controls: hand the verifier damaged copies of a real backup, and see what it says."""

import logging
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from kb_dr import __version__, records
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import (
    CATALOGUE,
    OF_DUMPS,
    ControlOutcome,
    ControlResult,
    ControlRun,
    Damage,
    Harm,
    judge_control,
)
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Outcome, Proof, Standing, standing
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.errors import KbDrError, NotProven, NoUsableBackup, UnreadableRecord
from kb_dr.operations.catalog import lean_entry, load_catalog, read_manifest, readable, whole
from kb_dr.operations.controls import gather_control_runs, store_control_run
from kb_dr.operations.do_damage import DamagingInspector, damage_copy
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr.operations.proof_run import Loading
from kb_dr.operations.proofs import load_proofs
from kb_dr.operations.verify import verify_backup
from kb_dr.ports import (
    Clock,
    Codec,
    PostgresHost,
    Progress,
    Repository,
    RestoreDamager,
    ScratchSpace,
    ServerInspector,
)

logger = logging.getLogger(__name__)

Overlay = Callable[[Repository, str, Mapping[str, bytes | None]], Repository]
"""Makes a throw-away repository over a real one, of which it changes nothing: the real one, a
label, and key to what stands there instead (None: nothing)."""

_FOREIGN = Harm("a new identity, of which nobody has the recipient", "identity")


@dataclass(frozen=True, slots=True)
class ControlTools:
    """What controls are made with."""

    codec: Codec
    stranger: Codec
    """With an identity that opens nothing."""
    host: PostgresHost
    scratch: ScratchSpace
    inspector: ServerInspector
    damager: RestoreDamager
    overlay: Overlay
    clock: Clock
    loading: Loading | None = None
    """What dumps are loaded with; None where only base backups are damaged."""


def run_controls(
    repository: Repository,
    tools: ControlTools,
    progress: Progress,
    *,
    backup: BackupId | None = None,
    damages: Sequence[Damage] = tuple(Damage),
    also_store_in: Sequence[Repository] = (),
) -> ControlRun:
    """Damage a backup in every way asked for, verify each, and keep what came of it.

    ``backup`` None: the newest that is proven in this copy, else the newest. ``repository`` is
    only read, until the record is appended to it and to ``also_store_in``. To a dump only OF_DUMPS
    is done. Raises
    NoUsableBackup, and what the repositories raise when they cannot be asked or written to;
    what hinders a single control is in its result.
    """
    stored = _choose(repository) if backup is None else read_manifest(repository, backup)
    places = (repository, *also_store_in)
    if stored.manifest.is_dump:
        damages = [each for each in damages if each in OF_DUMPS]
    made = _Round(repository, tools, progress, stored, tools.clock.now())
    complete = False
    try:
        for damage in damages:
            made.results.append(made.control(damage))
        complete = True
    finally:
        # A round that was broken off says nothing, unless it has seen a blind verifier by then.
        if complete or made.blind:
            run = made.record(places)
            store_control_run(places, run)
    return run


def _choose(repository: Repository) -> StoredManifest:
    """The newest backup known to be good: of one that is bad already a verifier learns nothing
    new when it is damaged.
    """
    backups = readable(load_catalog(repository, shape=lean_entry))
    if not backups:
        raise NoUsableBackup(
            f"choose a backup to damage: none in {repository.name} ({repository.url})",
            hint="`kb-dr backup full` takes one; `kb-dr copy` brings it offsite.",
        )
    for stored in reversed(backups):
        try:
            proofs = load_proofs(repository, stored.manifest.backup_id)
        except UnreadableRecord:
            continue
        known, _ = standing(
            proofs,
            digest=stored.digest,
            copy=repository.name,
            url=repository.url,
            void_through=None,
        )
        if known is Standing.PROVEN:
            return whole(repository, stored)
    return whole(repository, backups[-1])


@dataclass(slots=True)
class _Round:
    repository: Repository
    tools: ControlTools
    progress: Progress
    stored: StoredManifest
    started: datetime
    results: list[ControlResult] = field(default_factory=list)
    seen_tools: dict[str, str] = field(default_factory=lambda: {"kb-dr": __version__})
    plan: Callable[[], RecoveryPlan] = field(init=False)

    def __post_init__(self) -> None:
        self.plan = cache(
            lambda: plan_recovery(self.repository, self.tools.codec, self.stored, self.tools.clock)
        )

    @property
    def blind(self) -> bool:
        return any(each.outcome is ControlOutcome.BLIND for each in self.results)

    def control(self, damage: Damage) -> ControlResult:
        """One damage, and what the verifier makes of it."""
        began = self.tools.clock.monotonic()
        logger.info("control %s: %s", damage, CATALOGUE[damage].what)
        verdict, reason, named, harm = None, "", False, Harm("", "")
        outcome = ControlOutcome.COULD_NOT_RUN
        try:
            proof, harm = self._verify(damage)
        except (KbDrError, OSError) as error:
            reason = str(error)
        else:
            verdict, reason = proof.verdict, proof.reason
            outcome, named = judge_control(damage, verdict, harm.names, _reasons(proof))
            self.seen_tools |= proof.tools
        logger.info("control %s: %s, the verdict was %s", damage, outcome, verdict)
        return ControlResult(
            damage=damage,
            detail=harm.detail,
            expected=CATALOGUE[damage].fits,
            verdict=verdict,
            reason=reason,
            named=named,
            outcome=outcome,
            seconds=round(self.tools.clock.monotonic() - began, 3),
        )

    def _verify(self, damage: Damage) -> tuple[Proof, Harm]:
        tools, stored = self.tools, self.stored
        if damage is Damage.HISTORY_MISSING:
            stored = self._with_a_history()
        damaged = damage_copy(damage, self.repository, stored, self.plan)
        inspector: ServerInspector = tools.inspector
        damaging: DamagingInspector | None = None
        if damage in (Damage.ROWS_DROPPED, Damage.INDEX_STALE, Damage.VECTOR_INDEX_STALE):
            if damage is Damage.VECTOR_INDEX_STALE and not stored.manifest.source.vectors:
                raise NotProven("make a vector index stale: the source had none that was measured")
            damaging = DamagingInspector(inspector, tools.damager, damage, stored.manifest)
            inspector = damaging
        proof = verify_backup(
            tools.overlay(self.repository, f"control-{damage}", damaged.changes),
            tools.stranger if damage is Damage.WRONG_KEY else tools.codec,
            tools.host,
            tools.scratch,
            inspector,
            _Hurried(tools.clock),
            self.progress,
            backup=stored.manifest.backup_id,
            loading=tools.loading,
        )
        if damaging is not None:
            return proof, damaging.harm
        return proof, _FOREIGN if damage is Damage.WRONG_KEY else damaged.harm

    def _with_a_history(self) -> StoredManifest:
        """The backup itself, else the newest that lies on a timeline which has a history."""
        others = reversed(readable(load_catalog(self.repository)))
        return next(
            (each for each in (self.stored, *others) if each.manifest.wal.timeline > 1),
            self.stored,
        )

    def record(self, places: Sequence[Repository]) -> ControlRun:
        """What was seen, at times that make it the newest of all, also on a clock set back: an
        older good round must not outlive a blind one.
        """
        started, finished = self.started, self.tools.clock.now()
        known = [run.finished for run in gather_control_runs(places).runs]
        newest = max(known, default=None)
        if newest is not None and newest >= finished:
            shift = newest - finished + timedelta(microseconds=1)
            started, finished = started + shift, finished + shift
        return ControlRun(
            schema_version=records.SCHEMA_VERSION,
            id=f"{started.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
            backup_id=self.stored.manifest.id,
            manifest_digest=self.stored.digest,
            copy=self.repository.name,
            url=self.repository.url,
            started=started,
            finished=finished,
            results=tuple(self.results),
            tools=self.seen_tools,
            host=socket.gethostname(),
        )


def _reasons(proof: Proof) -> list[str]:
    """Everything a proof gives as a reason against the copy."""
    bad = (Outcome.FAILED, Outcome.COULD_NOT_RUN)
    return [proof.reason, *(each.seen for each in proof.checks if each.outcome in bad)]


@dataclass(slots=True)
class _Hurried:
    """A `kb_dr.ports.Clock` on which waiting takes no time: what was damaged here stays so, and
    need not be waited for as an upload that is under way.
    """

    inner: Clock
    skipped: float = 0.0

    def now(self) -> datetime:
        return self.inner.now()

    def monotonic(self) -> float:
        return self.inner.monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += seconds
