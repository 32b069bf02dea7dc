"""What the watch saw: each check a sentence, and whether it is true now."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Watched:
    """One check as it came out.

    PASSED: the sentence is true. FAILED: it is not. COULD_NOT_RUN: nobody could tell, which is
    never green. NOT_APPLICABLE: nothing here it could speak of, as configured.
    """

    name: str
    """The check's name: in Dagster, in alerts, in docs/monitoring.md."""
    outcome: Outcome
    severity: Severity
    """How bad it is when it is not true."""
    seen: str
    """The worst of what was looked at, in one line."""
    hint: str = ""
    """What to do now; empty: the first move of its kind."""
    parts: tuple[Finding, ...] = ()
    """What was looked at, e.g. one for each copy."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Numbers to plot, by name with unit: `age_seconds_primary`."""

    @property
    def broken(self) -> tuple[str, ...]:
        """The subjects of its parts that are not good."""
        return tuple(part.subject for part in self.parts if not part.good)
