"""Who is told of what, as the settings have it."""

from collections.abc import Mapping, Sequence

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity

_SUBJECT = "who is told"


def judge_routes(routes: Mapping[Severity, Sequence[str]]) -> Finding:
    """A no where critical alerts reach nobody, though there are channels."""
    seen = "; ".join(
        f"{severity}: {', '.join(routes.get(severity, ())) or 'nobody'}"
        for severity in (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
    )
    if not routes.get(Severity.CRITICAL):
        hint = "Let KB_DR_ALERT_CRITICAL name a channel that wakes somebody up, or leave it empty."
        return Finding(_SUBJECT, Outcome.FAILED, seen, hint)
    hint = ""
    if not routes.get(Severity.WARNING):
        hint = "Warnings are told once they are critical: KB_DR_ALERT_WARNING."
    return Finding(_SUBJECT, Outcome.PASSED, seen, hint)
