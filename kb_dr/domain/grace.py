"""Since when nobody can tell, and how bad that is by now."""

from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Before:
    """What the same check said the last time."""

    outcome: Outcome
    severity: Severity
    """How bad that was; of no meaning where it was well."""
    unknown_since: datetime | None = None
    """Since when nobody could tell, if nobody could."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A check of which nobody can tell whether it is true."""

    since: datetime
    severity: Severity


def judge_unknown(at: datetime, before: Before | None, grace_seconds: float) -> Unknown:
    """A warning while it is younger than the grace, and critical then.

    What was critical before stays critical: that nobody can look any more mends nothing. A start
    that lies in the future (a clock was set back) counts from now on.
    """
    since, worst = at, Severity.WARNING
    if before is not None and before.outcome is Outcome.COULD_NOT_RUN:
        since = min(before.unknown_since or at, at)
    if before is not None and before.outcome in (Outcome.COULD_NOT_RUN, Outcome.FAILED):
        worst = max(worst, before.severity, key=lambda each: each.rank)
    if (at - since).total_seconds() >= grace_seconds:
        worst = Severity.CRITICAL
    return Unknown(since, worst)
