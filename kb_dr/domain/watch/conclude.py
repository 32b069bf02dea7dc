"""What the parts of a check come to: the worst of them, and never green without one that passed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kb_dr.domain.alert_kinds import CHECKS
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watched import Watched

_WORST_FIRST = (
    Outcome.FAILED,
    Outcome.COULD_NOT_RUN,
    Outcome.PASSED,
    Outcome.NOT_APPLICABLE,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why something could not be seen; taken for nothing else."""

    why: str
    hint: str = ""

    def about(self, subject: str) -> Finding:
        """The same as a part of a check."""
        return Finding(subject, Outcome.COULD_NOT_RUN, self.why, self.hint)


def conclude(
    name: str,
    parts: Iterable[Finding],
    values: Mapping[str, float | None] | None = None,
    *,
    severity: Severity | None = None,
) -> Watched:
    """The check of that name. Without any part nobody could tell.

    ``severity`` None: that of its kind. Of ``values`` those that are None are left out: a point
    that was not measured is not drawn.
    """
    looked = tuple(parts)
    worst = min(looked, key=lambda each: _WORST_FIRST.index(each.outcome), default=None)
    if worst is None:
        worst = Finding(name, Outcome.COULD_NOT_RUN, "nothing was looked at")
    return Watched(
        name=name,
        outcome=worst.outcome,
        severity=severity or CHECKS[name].severity,
        seen=f"{worst.subject}: {worst.seen}",
        hint="" if worst.good else worst.hint,
        parts=looked,
        values={key: float(value) for key, value in (values or {}).items() if value is not None},
    )
