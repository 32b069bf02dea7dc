"""Drill a recovery from one copy: catalog rebuilt, a time drawn, restored, checked, timed.

What it reads is the bucket, the keys and the settings, as after a total loss; what it restores
goes away again. The record is stored whatever comes out; an interrupted drill leaves none.
"""

import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from kb_dr import __version__, records
from kb_dr.domain.drill import Drill, checks_of, draw_target
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Check, Outcome, Phase, Proof, Verdict
from kb_dr.domain.recoverable_window import RecoverableWindow, newest_window
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.recovery_target import AtTime, Latest, RecoveryTarget
from kb_dr.domain.rpo import CLOCK_SECONDS
from kb_dr.domain.verdicts import verdict_of
from kb_dr.errors import KbDrError, NoUsableBackup, TargetUnreachable, TimelineForked
from kb_dr.operations.catalog import lean_entry, load_catalog
from kb_dr.operations.phases import Phases
from kb_dr.operations.plan_target import Wanted, plan_target
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr.ports import Clock, Codec, Repository

_NOT_TO_BE_DRAWN = (NoUsableBackup, TargetUnreachable, TimelineForked)
"""A time between two timelines, or too near to a backup: no fault of the archive."""

_DRAWS = 20
"""Tries to draw a time that lies behind its backup's restore point."""


class Limits(Protocol):
    """What must hold, in seconds."""

    @property
    def rpo_seconds(self) -> float: ...
    @property
    def rto_seconds(self) -> float: ...


class Prove(Protocol):
    """Carries out a plan in scratch, and looks."""

    def __call__(self, plan: RecoveryPlan) -> Proof: ...


@dataclass(slots=True)
class _Walked:
    """What is known so far; it survives the error that ends a drill."""

    phases: Phases
    began: datetime
    stopwatch: float
    """What the clock that nobody sets showed then."""
    live_rpo_seconds: float | None = None
    backups_found: int = 0
    window: RecoverableWindow | None = None
    target: RecoveryTarget = Latest()  # noqa: RUF009 - a frozen value without fields
    plan: RecoveryPlan | None = None


def run_drill(
    repository: Repository,
    codec: Codec,
    clock: Clock,
    prove: Prove,
    limits: Limits,
    *,
    seed: int,
    to_the_end: bool,
    checklist: Sequence[Finding],
    live_rpo_seconds: float | None = None,
) -> Drill:
    """Walk the whole way back, to a time drawn by ``seed`` or to the end of the archive.

    ``live_rpo_seconds`` is the RPO as a source that answers tells it: where nothing was written,
    nothing would be lost, however old the newest commit is. Raises nothing of ours: what went
    wrong is the verdict.
    """
    walked = _Walked(Phases(clock), clock.now(), clock.monotonic(), live_rpo_seconds)
    proof: Proof | None = None
    failure: KbDrError | None = None
    try:
        proof = _walk(walked, repository, codec, clock, prove, seed, to_the_end=to_the_end)
    except KbDrError as error:
        failure = error
    return _record(walked, repository, clock, limits, seed, proof, failure, tuple(checklist))


def _walk(
    walked: _Walked,
    repository: Repository,
    codec: Codec,
    clock: Clock,
    prove: Prove,
    seed: int,
    *,
    to_the_end: bool,
) -> Proof:
    with walked.phases.measured("rebuild catalog"):
        walked.backups_found = len(load_catalog(repository, shape=lean_entry))
    with walked.phases.measured("find windows"):
        windows = list_recovery_windows(repository, codec)
        walked.window = newest_window(windows)
    with walked.phases.measured("plan"):
        walked.plan = plan = _plan(walked, repository, codec, clock, seed, to_the_end=to_the_end)
    return prove(plan)


def _plan(
    walked: _Walked,
    repository: Repository,
    codec: Codec,
    clock: Clock,
    seed: int,
    *,
    to_the_end: bool,
) -> RecoveryPlan:
    for attempt in range(0 if to_the_end else _DRAWS):
        walked.target = target = draw_target(walked.window, seed, attempt)
        if isinstance(target, Latest):
            break
        timeline = walked.window.timeline if walked.window else None
        wanted = Wanted(target, timeline=timeline)
        try:
            plan = plan_target(repository, codec, clock, wanted).recovery
        except _NOT_TO_BE_DRAWN:
            continue
        # Its rows are compared at the restore point, which has to lie on the way.
        if plan.stored.manifest.fingerprint.lsn <= plan.expected_end:
            return plan
    walked.target = Latest()
    return plan_target(repository, codec, clock, Wanted()).recovery


def _record(
    walked: _Walked,
    repository: Repository,
    clock: Clock,
    limits: Limits,
    seed: int,
    proof: Proof | None,
    failure: KbDrError | None,
    checklist: tuple[Finding, ...],
) -> Drill:
    verdict, reason = _judged(proof, failure)
    stored = walked.plan.stored if walked.plan else None
    return Drill(
        schema_version=records.SCHEMA_VERSION,
        id=f"{walked.began.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        seed=seed,
        copy=repository.name,
        url=repository.url,
        started=walked.began,
        finished=clock.now(),
        window=walked.window,
        asked=str(walked.target),
        backups_found=walked.backups_found,
        backup_id=stored.manifest.id if stored else None,
        manifest_digest=stored.digest if stored else None,
        proof_id=proof.id if proof else None,
        verdict=verdict,
        reason=reason,
        checks=checks_of(proof) if proof else _why(failure, verdict),
        phases=_phases(walked.phases.done, proof),
        reach=proof.reach if proof else None,
        checklist=checklist,
        rto_objective_seconds=limits.rto_seconds,
        rpo_seconds=_rpo(walked),
        rpo_objective_seconds=limits.rpo_seconds,
        tools=proof.tools if proof else {"kb-dr": __version__},
        host=socket.gethostname(),
        measured_seconds=clock.monotonic() - walked.stopwatch,
    )


def _judged(proof: Proof | None, failure: KbDrError | None) -> tuple[Verdict, str]:
    if proof is not None:
        return proof.verdict, proof.reason
    if failure is not None:
        return verdict_of(failure), str(failure)
    return Verdict.NOT_PROVEN, "nothing was restored"


def _why(failure: KbDrError | None, verdict: Verdict) -> tuple[Check, ...]:
    outcome = Outcome.FAILED if verdict is Verdict.FAILED else Outcome.COULD_NOT_RUN
    return (Check("restore", outcome, str(failure)),) if failure is not None else ()


def _phases(own: Sequence[Phase], proof: Proof | None) -> tuple[Phase, ...]:
    """The drill's own phases, then the proof's: its planning again is told apart by name."""
    theirs = proof.phases if proof else ()
    again = {"plan": "plan again"}
    return (*own, *(replace(each, name=again.get(each.name, each.name)) for each in theirs))


def _rpo(walked: _Walked) -> float | None:
    window = walked.window
    known = [] if walked.live_rpo_seconds is None else [walked.live_rpo_seconds]
    if window is not None and window.covered_until is not None:
        age = (walked.began - window.covered_until).total_seconds()
        if not age >= -CLOCK_SECONDS:
            return None  # one of the clocks is wrong, and with it every age
        known.append(max(age, 0.0))
    return min(known, default=None)


def drawn(drill: Drill) -> str:
    """How the target came about, for people."""
    if drill.window is None or drill.asked == str(Latest()):
        return drill.asked
    begins, ends = drill.window.begins_at, drill.window.ends_at
    until = AtTime(ends) if ends else "its end"
    return f"{drill.asked}, drawn by seed {drill.seed} between {AtTime(begins)} and {until}"
