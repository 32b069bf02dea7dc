"""Findings: what was looked at, what was seen, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass

from kb_dr.domain.proof import Outcome


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    subject: str
    outcome: Outcome
    seen: str
    hint: str = ""
    """What to do next; empty where nothing is to be done."""

    @property
    def good(self) -> bool:
        """Whether it may be relied on: ``could not run`` may not."""
        return self.outcome in (Outcome.PASSED, Outcome.NOT_APPLICABLE)


def all_good(findings: Iterable[Finding]) -> bool:
    """Whether something was looked at and all of it is good. Nothing looked at is not good."""
    seen = tuple(findings)
    return any(each.outcome is Outcome.PASSED for each in seen) and all(each.good for each in seen)
