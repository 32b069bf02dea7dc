"""What people read of restores and drills on the pages."""

from collections.abc import Sequence

import dagster as dg

from kb_dr.defs.metadata import Metadata, checks_table, phases_table, table
from kb_dr.domain.drill import Drill
from kb_dr.domain.drill_report import drill_report
from kb_dr.domain.recoverable_window import RecoverableWindow, nearest
from kb_dr.domain.wording import moment
from kb_dr.operations.describe_recovery import (
    WINDOW_COLUMNS,
    nearest_points,
    plan_rows,
    window_rows,
)
from kb_dr.operations.plan_target import Wanted
from kb_dr.operations.restore_postgres import Restored, RestorePlan


def plan_metadata(plan: RestorePlan) -> Metadata:
    """A plan: the rows that `kb-dr restore --dry-run` prints."""
    recovery = plan.recovery
    return {
        "plan": table(("what", "the plan"), plan_rows(plan)),
        "backup_id": dg.MetadataValue.text(recovery.stored.manifest.id),
        "copy_read": dg.MetadataValue.text(f"{recovery.copy} ({recovery.url})"),
        "into": dg.MetadataValue.path(str(plan.target)),
        "bytes_needed": dg.MetadataValue.int(recovery.bytes_needed),
        "bytes_free": dg.MetadataValue.int(plan.free_bytes),
    }


def plan_text(plan: RestorePlan) -> str:
    """The same as lines of a log."""
    rows = plan_rows(plan)
    width = max(len(name) for name, _ in rows)
    return "\n".join(("the plan:", *(f"  {name:{width}}  {value}" for name, value in rows)))


def windows_table(windows: Sequence[RecoverableWindow]) -> dg.MetadataValue:
    """What can be recovered to."""
    return table(WINDOW_COLUMNS, window_rows(windows))


def refusal_metadata(windows: Sequence[RecoverableWindow], wanted: Wanted) -> Metadata:
    """What can be had instead of a target that cannot."""
    near = nearest_points(nearest(windows, wanted.target))
    return {
        "asked_for": dg.MetadataValue.text(str(wanted.target)),
        "nearest": table(
            ("nearest", "moment", "copy", "LSN", "timeline"),
            ((each.side, moment(each.at), each.copy, each.lsn, each.timeline) for each in near),
        ),
        "recoverable_windows": windows_table(windows),
    }


def restored_metadata(restored: Restored) -> Metadata:
    """A restore: what was asked for, what was reached, how long it took, what to do now."""
    plan, reach = restored.plan, restored.reach
    steps = (f"{number}. {step}" for number, step in enumerate(restored.next_steps, 1))
    return {
        "into": dg.MetadataValue.path(str(plan.target)),
        "asked_for": dg.MetadataValue.text(reach.asked),
        "reached_lsn": dg.MetadataValue.text(str(reach.reached_lsn)),
        "reached_timeline": dg.MetadataValue.int(reach.reached_timeline or 0),
        "expected_lsn": dg.MetadataValue.text(str(reach.expected_lsn)),
        "newest_commit": dg.MetadataValue.text(moment(reach.newest_commit)),
        "backup_id": dg.MetadataValue.text(plan.recovery.stored.manifest.id),
        "copy_read": dg.MetadataValue.text(f"{plan.recovery.copy} ({plan.recovery.url})"),
        "rto_seconds": dg.MetadataValue.float(
            (restored.finished - restored.started).total_seconds()
        ),
        "phases": phases_table(restored.phases),
        "next_steps": dg.MetadataValue.md("\n".join(steps)),
    }


def drill_metadata(drill: Drill) -> Metadata:
    """A drill: whether it was passed, its figures as plots, and the report.

    A setting may be a whole number, which Dagster does not take for a float.
    """
    found: Metadata = {
        "passed": dg.MetadataValue.bool(drill.passed),
        "verdict": dg.MetadataValue.text(str(drill.verdict)),
        "shortfalls": table(("shortfall",), ((each,) for each in drill.shortfalls)),
        "asked_for": dg.MetadataValue.text(drill.asked),
        "seed": dg.MetadataValue.int(drill.seed),
        "copy_read": dg.MetadataValue.text(f"{drill.copy} ({drill.url})"),
        "backup_id": dg.MetadataValue.text(drill.backup_id or "none"),
        "proof_id": dg.MetadataValue.text(drill.proof_id or "none"),
        "drill_id": dg.MetadataValue.text(drill.id),
        "rto_seconds": dg.MetadataValue.float(drill.rto_seconds),
        "rto_objective_seconds": dg.MetadataValue.float(float(drill.rto_objective_seconds)),
        "rpo_objective_seconds": dg.MetadataValue.float(float(drill.rpo_objective_seconds)),
        "phases": phases_table(drill.phases),
        "checks": checks_table(drill.checks),
        "report": dg.MetadataValue.md(drill_report(drill)),
    }
    if drill.rpo_seconds is not None:  # what nobody knows is no zero on a plot
        found["rpo_seconds"] = dg.MetadataValue.float(float(drill.rpo_seconds))
    return found
