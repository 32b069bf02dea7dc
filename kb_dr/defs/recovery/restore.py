"""`restore_database`: the plan, and then the restore, for somebody at the Launchpad."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from kb_dr.defs.copies import copy_named
from kb_dr.defs.failures import failure_metadata
from kb_dr.defs.metadata import Metadata
from kb_dr.defs.postgres.assets import at_work
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.postgres.keys import BACKUP_ID_TAG
from kb_dr.defs.recovery import keys
from kb_dr.defs.recovery.metadata import (
    plan_metadata,
    plan_text,
    refusal_metadata,
    restored_metadata,
    windows_table,
)
from kb_dr.defs.recovery.restore_form import (
    PREFILLED,
    Execute,
    RestoreForm,
    check_confirmation,
    directory_of,
    refuse_environment,
    wanted_of,
)
from kb_dr.defs.resources import InstallationDoor
from kb_dr.errors import ConfigurationError, KbDrError, RecoveryError
from kb_dr.installation import Installation
from kb_dr.operations.describe_recovery import TARGET_REFUSALS, reached
from kb_dr.operations.plan_target import Wanted
from kb_dr.operations.restore_postgres import RestorePlan

BACKFILL_TAG = "dagster/backfill"
ACTION_TAG = "kb_dr/action"
"""On each run: whether it only plans."""

LONGEST_SECONDS = 30 * HOUR
"""More than the longest replay that is waited for."""

restore_asset = dg.AssetSpec(
    keys.RESTORE,
    group_name=keys.GROUP,
    kinds={"postgres"},
    description="Restores that somebody asked for, with the job `restore_database`. Each plan is "
    "an observation here; each restore that reached what was asked for is a materialization.",
)


@dg.op
def restore(
    context: dg.OpExecutionContext, config: RestoreForm, door: dg.ResourceParam[InstallationDoor]
) -> None:
    """Plan. With `execute` then fetch, verify, recover, compare with the plan, stop, and put the
    cluster into its directory.
    """
    with at_work(context) as progress:
        refuse_environment(context.run.run_config)
        check_confirmation(config)
        execute = isinstance(config.action, Execute)
        if execute and BACKFILL_TAG in context.run.tags:
            raise ConfigurationError(
                "restore: refused inside a backfill", hint="Launch restore_database by itself."
            )
        wanted, target = wanted_of(config), directory_of(config)
        installation = door.open()
        _refuse_unfinished(installation, target)
        copy = copy_named(installation, config.copy_read)
        with _what_can_be_reached(installation, wanted, copy):
            plan = installation.plan_restore(wanted, copy, target)
        metadata = plan_metadata(plan)
        if not execute:
            windows = installation.recovery_windows(plan.recovery.copy)
            metadata["recoverable_windows"] = windows_table(windows)
        _show(context, plan, metadata, execute=execute)
        if not execute:
            context.log.info("dry run: nothing was changed")
            return
        with _said_when_ended(context, plan):
            restored = installation.restore(plan, progress)
    context.log.info(reached(restored.reach))
    context.log_event(
        dg.AssetMaterialization(
            keys.RESTORE,
            description=f"restored into {plan.target}",
            metadata=restored_metadata(restored),
        )
    )


def _refuse_unfinished(installation: Installation, target: Path) -> None:
    """Refuse a directory that may be missing only because its replacement was cut off."""
    found = installation.unfinished_replacement(target)
    if found is not None:
        raise RecoveryError(
            f"restore into {target}: a replacement of it is at work, or was cut off at: "
            f"{found.step}",
            hint=f"If none is at work: kb-dr restore --into {target} --roll-back --yes",
        )


@contextmanager
def _said_when_ended(context: dg.OpExecutionContext, plan: RestorePlan) -> Iterator[None]:
    """Let a restore that somebody terminates say what is left of it."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and not plan.target.exists():
            context.log.warning(f"terminated: nothing was put into {plan.target}")
        raise


def _show(
    context: dg.OpExecutionContext, plan: RestorePlan, metadata: Metadata, *, execute: bool
) -> None:
    action = "execute" if execute else "dry_run"
    tags = {BACKUP_ID_TAG: plan.recovery.stored.manifest.id, ACTION_TAG: action}
    context.instance.add_run_tags(context.run_id, tags)
    context.log.info(plan_text(plan))
    context.log_event(
        dg.AssetObservation(keys.RESTORE, description=f"the plan ({action})", metadata=metadata)
    )


@contextmanager
def _what_can_be_reached(
    installation: Installation, wanted: Wanted, copy: str | None
) -> Iterator[None]:
    """Let a refused target say what can be had instead."""
    try:
        yield
    except TARGET_REFUSALS as error:
        metadata = failure_metadata(error)
        try:
            metadata |= refusal_metadata(installation.recovery_windows(copy), wanted)
        except KbDrError as other:
            metadata["recoverable_windows"] = dg.MetadataValue.text(f"not known: {other}")
        raise dg.Failure(description=str(error), metadata=metadata, allow_retries=False) from error


@dg.job(
    config={"ops": {"restore": {"config": PREFILLED}}},
    executor_def=dg.in_process_executor,
    # Somebody is in trouble: ahead of the queue. A second try by itself is never wanted.
    tags={**ends_after(LONGEST_SECONDS), "dagster/priority": "10", "dagster/max_retries": "0"},
    description="Restore PostgreSQL into a new directory. In the Launchpad: choose `target`, name "
    "the directory in `into`, launch the dry run, and read the plan on the run's page. Then put "
    "`execute: {confirm_target: THE SAME DIRECTORY}` in the place of `dry_run: {}`. Terminating "
    "the run leaves the directory as it was. A service is never replaced from here: that is done "
    "in a shell, with `kb-dr restore --replace`.",
)
def restore_database() -> None:
    """Restore PostgreSQL into a new directory."""
    restore()
