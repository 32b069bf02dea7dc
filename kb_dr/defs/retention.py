"""Retention, day by day: what goes from each copy, why, and that it went."""

from collections.abc import Sequence

import dagster as dg

from kb_dr.defs.failures import failure_metadata
from kb_dr.defs.metadata import Metadata, table
from kb_dr.defs.postgres.assets import at_work
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain.retention_table import retention_rows
from kb_dr.domain.wording import size
from kb_dr.errors import KbDrError
from kb_dr.operations.apply_retention import AppliedRetention
from kb_dr.operations.plan_copy_retention import CopyRetention
from kb_dr.operations.purge_backup import Outcome

_FINGERPRINT_SHOWN = 16
"""Digits, as `kb-dr retention plan` shows them; all of them make the page too wide to read."""

RETENTION = dg.AssetKey(["repository", "retention"])


@dg.asset(key=RETENTION, group_name="repository", kinds={"s3"}, pool="retention")
def retention(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.MaterializeResult[None]:
    """What each copy keeps, by its policy; the rest has gone.

    Materialized means that the plan of every copy, in the metadata, was carried out: `..._plan` has
    each backup with what becomes of it and why, `..._done` what came of that. A copy that cannot be
    read fails the run; the others are served all the same.
    """
    found: Metadata = {}
    failed: list[tuple[str, KbDrError]] = []
    with at_work(context) as progress:
        installation = door.open()
        with installation.pinged("retention", parts=installation.copies, every=True) as work:
            for copy in installation.copies:
                try:
                    planned = installation.plan_retention(copy)
                    found |= plan_metadata(planned)
                    found |= applied_metadata(installation.apply_retention(planned, progress))
                except KbDrError as error:
                    context.log.error(f"{copy}: {error}")
                    failed.append((copy, error))
                    work.failed(f"{copy}: {error}")
    if failed:
        first = failed[0][1]
        raise dg.Failure(
            description=f"{', '.join(name for name, _ in failed)}: {first}",
            metadata={**found, **failure_metadata(first)},
            allow_retries=first.retryable,
        )
    return dg.MaterializeResult(metadata=found)


def plan_metadata(planned: CopyRetention) -> Metadata:
    """The plan of one copy, with the reason of each decision."""
    plan, sizes = planned.plan, planned.gathered.stored_bytes
    return {
        f"{plan.copy}_plan": table(
            # Few columns: the page cuts a wide table off. Ids tell the time, reasons the tiers.
            ("backup", "plan", "why", "stored"),
            (
                (row.id, row.becomes, row.why, size(sizes.get(row.id)))
                for row in retention_rows(plan)
            ),
        ),
        f"{plan.copy}_wal_to_go": table(
            ("cluster", "timeline", "from", "to", "files"),
            (
                (w.system_identifier, f"{w.timeline:08X}", w.first, w.last, w.files)
                for w in plan.wal
            ),
        ),
        f"{plan.copy}_kept": dg.MetadataValue.int(len(plan.decisions) - len(plan.expire)),
        f"{plan.copy}_fingerprint": dg.MetadataValue.text(plan.fingerprint[:_FINGERPRINT_SHOWN]),
    }


def applied_metadata(applied: AppliedRetention) -> Metadata:
    """What was done to one copy."""
    copy = applied.copy
    return {
        f"{copy}_done": table(
            ("backup", "became", "why"),
            ((each.backup_id, each.outcome, each.detail) for each in applied.dealt),
        ),
        f"{copy}_expired": dg.MetadataValue.int(applied.count(Outcome.EXPIRED)),
        f"{copy}_purged": dg.MetadataValue.int(applied.count(Outcome.PURGED)),
        f"{copy}_locked": dg.MetadataValue.int(applied.count(Outcome.RETAINED)),
        f"{copy}_wal_files_gone": dg.MetadataValue.int(applied.wal.files),
        f"{copy}_notes": table(("note",), ((note,) for note in applied.notes)),
    }


retention_job = dg.define_asset_job(
    "retention_job",
    selection=dg.AssetSelection.assets(retention),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Plan what each copy keeps, show why, and let go of the rest.",
)


def make_retention_schedules(times: ScheduleTimes) -> Sequence[dg.ScheduleDefinition]:
    """The one schedule, at its time."""
    return [
        dg.ScheduleDefinition(
            name="daily_retention",
            job=retention_job,
            cron_schedule=times.retention,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="What no tier keeps goes, once what replaces it is proven.",
        )
    ]
