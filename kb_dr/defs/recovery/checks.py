"""Recovery checks: each is a sentence that is true when it is green."""

import dagster as dg

from kb_dr.defs.failures import reported_failures
from kb_dr.defs.recovery import keys
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.proof import Outcome


@dg.asset_check(asset=keys.CONTROLS, name="verifier_sees_damage")
def verifier_sees_damage(
    context: dg.AssetCheckExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.AssetCheckResult:
    """The negative controls of late were all seen as damage, and named.

    Red: a damaged copy came out PROVEN (all proofs are void then), was misjudged, or nobody
    tried for too long. Read from the repositories, so rounds run by hand count as well.
    """
    with reported_failures():
        held = door.open().controls_held()
    if held.outcome is Outcome.NOT_APPLICABLE:
        context.log.info(held.seen)
    return dg.AssetCheckResult(
        passed=held.good,
        description=held.seen,
        metadata={
            "outcome": dg.MetadataValue.text(str(held.outcome)),
            "hint": dg.MetadataValue.text(held.hint or "nothing is to be done"),
        },
    )
