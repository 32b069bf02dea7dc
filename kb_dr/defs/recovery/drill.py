"""`recovery/drill`: the whole way back, walked and timed; and whether that was of late."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from kb_dr.defs.copies import CopyRead, copy_named
from kb_dr.defs.failures import reported_failures
from kb_dr.defs.postgres.assets import at_work
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.postgres.report import report_standing
from kb_dr.defs.recovery import keys
from kb_dr.defs.recovery.metadata import drill_metadata
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.drill import Drill
from kb_dr.domain.severity import Severity
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation

OP = "recovery__drill"
"""What Dagster calls the asset's step in a run's configuration."""


class DrillForm(dg.Config):
    """What a drill reads, and how far it goes."""

    copy_read: CopyRead = Field(
        default=CopyRead.auto,
        description="The copy to read: `auto` is the one whose last drill is the longest ago.",
    )
    seed: int | None = Field(
        default=None,
        description="Draws the same time from the same window again; empty: one is drawn.",
    )
    to_the_end: bool = Field(
        default=False,
        description="true: to the end of the archive. false: to a time drawn inside the window.",
    )


def form_of(*, to_the_end: bool) -> dict[str, object]:
    """The configuration of a run."""
    form = {"copy_read": CopyRead.auto.value, "to_the_end": to_the_end}
    return {"ops": {OP: {"config": form}}}


@dg.asset(
    key=keys.DRILL,
    group_name=keys.GROUP,
    kinds={"postgres"},
    pool="scratch",
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=100)),
)
def drill(
    context: dg.AssetExecutionContext,
    config: DrillForm,
    door: dg.ResourceParam[InstallationDoor],
) -> dg.MaterializeResult[None]:
    """Recovery from nothing but a bucket, the keys and the settings, into scratch.

    Materialized means that the restore was PROVEN, and RTO, RPO and every secret held. Any other
    drill fails the run; its record and report are kept in the repositories all the same.
    """
    with at_work(context) as progress:
        installation = door.open()
        copy = copy_named(installation, config.copy_read)
        done = installation.drill(copy, progress, seed=config.seed, to_the_end=config.to_the_end)
    _report_light(context, installation, done)
    if not done.passed:
        raise dg.Failure(
            description=f"drill {done.id} was not passed: {'; '.join(done.shortfalls)}",
            metadata=drill_metadata(done),
            allow_retries=False,
        )
    return dg.MaterializeResult(metadata=drill_metadata(done), data_version=dg.DataVersion(done.id))


def _report_light(
    context: dg.AssetExecutionContext, installation: Installation, done: Drill
) -> None:
    """A drill leaves a proof: the backup's light must not wait for the next sync."""
    if done.backup_id is None or done.proof_id is None:
        return
    try:
        report_standing(context.instance, installation, done.backup_id, context.run.run_id)
    except KbDrError as error:
        context.log.warning(f"restore_proven is left to the next sync: {error}")


@dg.asset_check(asset=keys.READINESS, name="a_passed_drill_is_recent")
def a_passed_drill_is_recent(door: dg.ResourceParam[InstallationDoor]) -> dg.AssetCheckResult:
    """The newest drill of every copy was passed, and one within `KB_DR_DRILL_AGE_DAYS`.

    Read from the repositories, so drills run by hand count as well. While none is due yet, as the
    repositories are too young, that there was none is yellow, and wakes nobody.
    """
    with reported_failures():
        installation = door.open()
        held = installation.drills_held()
        none_is_due = not held.good and installation.drills_held(young=True).good
    return dg.AssetCheckResult(
        passed=held.good,
        severity=dg.AssetCheckSeverity.WARN if none_is_due else dg.AssetCheckSeverity.ERROR,
        description=held.seen,
        metadata={
            "outcome": dg.MetadataValue.text(str(held.outcome)),
            "hint": dg.MetadataValue.text(held.hint or "nothing is to be done"),
            # A warning becomes critical when it lasts; nobody has to act while none is due.
            **({"severity": dg.MetadataValue.text(str(Severity.INFO))} if none_is_due else {}),
        },
    )


disaster_recovery_drill = dg.define_asset_job(
    "disaster_recovery_drill",
    selection=dg.AssetSelection.assets(drill).without_checks(),
    config=form_of(to_the_end=False),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Recover to a time drawn inside the window, from the copy drilled the longest "
    "ago, into scratch: look, and hold RTO and RPO against their objectives.",
)

monthly_restore_test = dg.define_asset_job(
    "monthly_restore_test",
    selection=dg.AssetSelection.assets(drill).without_checks(),
    config=form_of(to_the_end=True),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="The same to the end of the archive.",
)
