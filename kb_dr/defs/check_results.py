"""What the watch saw, as results of Dagster's checks: the numbers are plain, the pages plot them.

Alerts are made of these results alone, so everything an alert says stands in them.
"""

import json
import math
from datetime import datetime

import dagster as dg

from kb_dr.defs.evaluations import Evaluated
from kb_dr.defs.metadata import Metadata, table
from kb_dr.domain.alert_kinds import CHECKS
from kb_dr.domain.grace import Before, judge_unknown
from kb_dr.domain.notice import UNSURE
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watched import Watched

OUTCOME, SEVERITY, UNKNOWN_SINCE = "outcome", "severity", "unknown_since"
HINT, SUBJECTS = "hint", "subjects"


def check_result(
    check: dg.AssetCheckKey,
    watched: Watched,
    *,
    at: datetime,
    before: Evaluated | None,
    grace_seconds: float,
) -> dg.AssetCheckResult:
    """Green only for what is true, or does not apply here. ``before``: what it said last.

    What nobody can tell is yellow, and red when nobody could for longer than the grace.
    """
    good = watched.outcome in (Outcome.PASSED, Outcome.NOT_APPLICABLE)
    severity, said, metadata = watched.severity, watched.seen, _metadata(watched)
    if watched.outcome is Outcome.COULD_NOT_RUN:
        unknown = judge_unknown(at, said_before(before), grace_seconds)
        severity, said = unknown.severity, f"{UNSURE}{watched.seen}"
        metadata[UNKNOWN_SINCE] = dg.MetadataValue.text(unknown.since.isoformat())
    elif watched.outcome is Outcome.NOT_APPLICABLE:
        said = f"does not apply here: {watched.seen}"
    metadata[SEVERITY] = dg.MetadataValue.text("none" if good else str(severity))
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=good,
        severity=(
            dg.AssetCheckSeverity.ERROR
            if severity is Severity.CRITICAL
            else dg.AssetCheckSeverity.WARN
        ),
        description=said,
        metadata=metadata,
    )


def said_before(before: Evaluated | None) -> Before | None:
    """The same check's last result, as the rule wants it."""
    if before is None:
        return None
    outcome = Outcome.PASSED if before.passed else Outcome.FAILED
    since = None
    if before.texts.get(OUTCOME) == Outcome.COULD_NOT_RUN:
        outcome, since = Outcome.COULD_NOT_RUN, _instant(before.texts.get(UNKNOWN_SINCE))
    return Before(outcome, before.severity, since or before.at)


def _metadata(watched: Watched) -> Metadata:
    # Ours last: a number must not take the place of what alerts are made of.
    return {
        **{
            name: dg.MetadataValue.float(float(value))
            for name, value in watched.values.items()
            if math.isfinite(value)
        },
        OUTCOME: dg.MetadataValue.text(str(watched.outcome)),
        "seen": dg.MetadataValue.text(watched.seen),
        HINT: dg.MetadataValue.text(_hint(watched)),
        SUBJECTS: dg.MetadataValue.text(json.dumps(watched.broken)),
        "parts": table(
            ("what", "outcome", "seen", "to do"),
            ((p.subject, p.outcome, p.seen, p.hint) for p in watched.parts),
        ),
    }


def _hint(watched: Watched) -> str:
    if watched.outcome in (Outcome.PASSED, Outcome.NOT_APPLICABLE):
        return "nothing is to be done"
    return watched.hint or CHECKS[watched.name].first_move


def _instant(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None
