"""Recovery jobs: one verb each, one process each, none without an end."""

import dagster as dg

from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.recovery.assets import controls
from kb_dr.defs.recovery.checks import verifier_sees_damage

negative_controls_job = dg.define_asset_job(
    "negative_controls_job",
    selection=dg.AssetSelection.assets(controls) | dg.AssetSelection.checks(verifier_sees_damage),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Hand the verifier damaged copies of a backup: it has to see all of it.",
)
