"""Rounds of negative controls, made up."""

from datetime import datetime, timedelta

from kb_dr import records
from kb_dr.domain.control import CATALOGUE, ControlOutcome, ControlResult, ControlRun, Damage
from kb_dr.domain.proof import Verdict

GOOD, BLIND = ControlOutcome.GOOD, ControlOutcome.BLIND
MISJUDGED, COULD_NOT_RUN = ControlOutcome.MISJUDGED, ControlOutcome.COULD_NOT_RUN


def made_run(
    finished: datetime,
    outcomes: dict[Damage, ControlOutcome] | None = None,
    *,
    only: bool = False,
) -> ControlRun:
    """A round in which all is good but what ``outcomes`` says; ``only`` leaves out the rest."""
    given = outcomes or {}
    return ControlRun(
        schema_version=records.SCHEMA_VERSION,
        id=f"{finished:%Y%m%d-%H%M%S}-{'bad' if given else 'good'}",
        backup_id="kb-full-20261120-020000",
        manifest_digest="d",
        copy="primary",
        url="memory://primary",
        started=finished - timedelta(minutes=5),
        finished=finished,
        results=tuple(
            made_result(damage, given.get(damage, GOOD))
            for damage in Damage
            if damage in given or not only
        ),
        tools={"kb-dr": "0.1.0"},
        host="h",
    )


def made_result(damage: Damage, outcome: ControlOutcome) -> ControlResult:
    """One result that came out so."""
    fits = CATALOGUE[damage].fits
    verdicts = {GOOD: fits, BLIND: Verdict.PROVEN, MISJUDGED: Verdict.FAILED, COULD_NOT_RUN: None}
    return ControlResult(
        damage=damage,
        detail=f"{damage} was done",
        expected=fits,
        verdict=verdicts[outcome],
        reason="as the test says",
        named=outcome is GOOD,
        outcome=outcome,
        seconds=1.0,
    )
