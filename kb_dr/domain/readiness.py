"""Readiness: could this service be recovered now, as its owner asks it; on one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kb_dr.domain.finding import Finding
from kb_dr.domain.integrity_report import Coverage
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.trends import Trends

MOST_STEPS = 3
"""What to do next: nobody does more at once."""


class Answer(StrEnum):
    """Could we recover now, within what was promised?"""

    YES = "yes"
    NO = "no"
    COULD_NOT_TELL = "could not tell"
    """Something nobody could look at: it is not taken for good."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One promise beside what was measured."""

    name: str
    allowed_seconds: float
    measured_seconds: float | None
    """None: could not tell."""
    of: str
    """What was measured: a backup, a copy; or why nothing was."""
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class CopyReadiness:
    """One copy, as far as it could be looked at."""

    copy: str
    url: str
    problem: str
    backups: int
    newest: str | None
    begins_at: datetime | None
    """The oldest moment it can recover to; it may be earlier."""
    recoverable_to: datetime | None
    """The newest; None when it could not be told."""
    loss_seconds: float | None
    """What a disaster now would cost if this copy were all that was left."""
    restore_seconds: float | None
    """How long a restore from it would take now."""
    stored_bytes: int | None
    """By the newest integrity report."""
    bytes_a_day: float | None
    """How that grows, by the reports of late."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """The last drill, or the last round of negative controls."""

    id: str
    at: datetime
    copy: str
    passed: bool
    seen: str
    """What came of it, in one line."""


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that is open, or was of late."""

    kind: str
    severity: Severity
    title: str
    opened_at: datetime
    closed_at: datetime | None = None
    """None while it is open."""
    acknowledged: bool = False
    do: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer, and what it rests on."""

    service: str
    at: datetime
    answer: Answer
    verdict: str
    """The answer in one sentence."""
    measures: tuple[Measure, ...]
    copies: tuple[CopyReadiness, ...]
    coverage: Coverage | None
    """By the newest integrity report; None without one of late."""
    coverage_at: datetime | None
    drill: Exercise | None
    controls: Exercise | None
    alerts: tuple[OpenAlert, ...] | None
    """Those open, the worst first; None: they could not be read, ``alerts_problem`` says why."""
    alerts_problem: str
    findings: tuple[Finding, ...]
    """All that has to be good for a yes."""
    next_steps: tuple[str, ...]
    """At most MOST_STEPS; empty: nothing is to be done."""
    trends: Trends
    notes: tuple[str, ...] = ()

    @property
    def lacking(self) -> tuple[Finding, ...]:
        """What is not good, the known bad before what nobody could tell."""
        return worst_first(self.findings)


def worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those that are not good: FAILED, then what could not be told; else in their order."""
    bad = [each for each in findings if not each.good]
    return tuple(sorted(bad, key=lambda each: each.outcome is not Outcome.FAILED))
