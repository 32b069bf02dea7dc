"""Drill: the whole way back, walked from nothing but a bucket, the keys and the configuration."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Check, Outcome, Phase, Proof, Reach, Verdict
from kb_dr.domain.recoverable_window import RecoverableWindow
from kb_dr.domain.recovery_target import AtTime, Latest


@dataclass(frozen=True, slots=True)
class Drill:
    """The evidence one drill left, stored beside the proofs and never rewritten."""

    schema_version: int
    id: str
    """Begins with the time it started, as a proof's does."""
    seed: int
    """Draws the same time from the same window again."""
    copy: str
    url: str
    started: datetime
    finished: datetime
    window: RecoverableWindow | None
    """What the time was drawn from; None when there was none."""
    asked: str
    backups_found: int
    """In the catalog rebuilt from the bucket."""
    backup_id: str | None
    manifest_digest: str | None
    proof_id: str | None
    verdict: Verdict
    reason: str
    checks: tuple[Check, ...]
    phases: tuple[Phase, ...]
    reach: Reach | None
    checklist: tuple[Finding, ...]
    """Secrets and programs that a rebuild from nothing needs, each tried."""
    rto_objective_seconds: float
    rpo_seconds: float | None
    """From the newest moment this copy covers to the begin of the drill: what a disaster
    then would have cost; less where the source says that it wrote less. None: could not tell."""
    rpo_objective_seconds: float
    tools: dict[str, str]
    host: str
    measured_seconds: float | None = None
    """By a clock that nobody sets; None in records that are older than this field."""

    @property
    def rto_seconds(self) -> float:
        """From the first look into the bucket to a cluster that was opened and checked.

        Of two clocks the longer time, should one of them have been set meanwhile.
        """
        seen = (self.finished - self.started).total_seconds()
        return seen if self.measured_seconds is None else max(seen, self.measured_seconds)

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """Why the drill was not passed; empty when it was."""
        found = [] if self.verdict is Verdict.PROVEN else [f"{self.verdict}: {self.reason}"]
        if not 0 <= self.rto_seconds <= self.rto_objective_seconds:
            found.append(
                f"RTO {self.rto_seconds:.1f} s, allowed {self.rto_objective_seconds:.0f} s"
            )
        if self.rpo_seconds is None:
            found.append("RPO not known")
        elif not self.rpo_seconds <= self.rpo_objective_seconds:
            found.append(
                f"RPO {self.rpo_seconds:.1f} s, allowed {self.rpo_objective_seconds:.0f} s"
            )
        found += [f"{each.subject}: {each.seen}" for each in self.checklist if not each.good]
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.shortfalls


def draw_target(window: RecoverableWindow | None, seed: int, attempt: int = 0) -> AtTime | Latest:
    """A time inside a window, the same for the same seed; the end where there is nothing to draw.

    A further ``attempt`` is another draw of the same seed.
    """
    if window is None or window.ends_at is None or window.ends_at <= window.begins_at:
        return Latest()
    draw = random.Random(seed)  # noqa: S311 - repeatable on purpose, and no secret
    share = [draw.random() for _ in range(attempt + 1)][-1]
    return AtTime(window.begins_at + (window.ends_at - window.begins_at) * share)


def copy_to_drill(copies: Sequence[str], drills: Sequence[Drill]) -> str:
    """The copy whose last drill is the longest ago; one never drilled comes first."""
    newest = {drill.copy: drill.started for drill in sorted(drills, key=lambda each: each.started)}
    never = [copy for copy in reversed(copies) if copy not in newest]
    if never:
        return never[0]
    return min(copies, key=lambda copy: newest[copy])


def checks_of(proof: Proof) -> tuple[Check, ...]:
    """The checks of the drill's own proof, the red ones first."""
    order = {Outcome.FAILED: 0, Outcome.COULD_NOT_RUN: 1}
    return tuple(sorted(proof.checks, key=lambda check: order.get(check.outcome, 2)))
