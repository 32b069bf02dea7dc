"""Recovery assets: what shows that all of it would work."""

import dagster as dg

from kb_dr.defs.copies import copy_named
from kb_dr.defs.metadata import controls_metadata
from kb_dr.defs.postgres.assets import ProofConfig, at_work
from kb_dr.defs.postgres.judgement import copy_that_counts
from kb_dr.defs.recovery import keys
from kb_dr.defs.resources import InstallationDoor


@dg.asset(
    key=keys.CONTROLS,
    group_name=keys.GROUP,
    kinds={"postgres"},
    pool="scratch",
)
def controls(
    context: dg.AssetExecutionContext,
    config: ProofConfig,
    door: dg.ResourceParam[InstallationDoor],
) -> dg.MaterializeResult[None]:
    """One round of negative controls: a real backup, damaged in every way, and verified.

    Materialized means that its record is in the repositories, whatever it says: see the check
    `verifier_sees_damage`. The damage is done in a repository that is thrown away.
    """
    with at_work(context) as progress:
        installation = door.open()
        copy = copy_named(installation, config.copy_read) or copy_that_counts(installation)
        run = installation.run_controls(None, copy, progress)
    return dg.MaterializeResult(
        metadata=controls_metadata(run), data_version=dg.DataVersion(run.id)
    )
