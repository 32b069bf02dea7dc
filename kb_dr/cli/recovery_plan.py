"""A recovery plan on the terminal, and what can be reached where a target cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kb_dr.cli.output import moment, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kb_dr.domain.recoverable_window import Nearest, RecoverableWindow
    from kb_dr.operations.restore_postgres import RestorePlan


def plan_values(plan: RestorePlan) -> dict[str, object]:
    """For machines."""
    recovery = plan.recovery
    return {
        "reachable": True,
        "asked": str(recovery.target),
        "backup": recovery.stored.manifest.id,
        "manifest_digest": recovery.stored.digest,
        "chain": [{"id": each.manifest.id, "digest": each.digest} for each in recovery.chain],
        "copy": recovery.copy,
        "url": recovery.url,
        "target": str(plan.target),
        "timeline": recovery.timeline,
        "first_segment": recovery.first_segment,
        "last_segment": recovery.last_segment,
        "segments": len(recovery.segments),
        "expected_end": recovery.expected_end,
        "expected_timeline": recovery.expected_timeline,
        "newest_commit": recovery.newest_commit,
        "bytes_needed": recovery.bytes_needed,
        "bytes_free": plan.free_bytes,
        "forecast": plan.forecast,
        "passed_over": plan.passed_over,
        "notes": recovery.notes,
    }


def print_windows(windows: Sequence[RecoverableWindow]) -> None:
    """Every recoverable stretch, a line each."""
    from kb_dr.operations.describe_recovery import WINDOW_COLUMNS, window_rows

    print_table(
        "Recoverable windows",
        WINDOW_COLUMNS,
        window_rows(windows),
        caption="" if windows else "there is none",
    )


def print_nearest(near: Nearest) -> None:
    """What can be had instead."""
    from kb_dr.operations.describe_recovery import nearest_points

    for point in nearest_points(near):
        say(
            f"nearest {point.side}: {moment(point.at)} in {point.copy}, with "
            f"--target-lsn {point.lsn} --target-timeline {point.timeline}"
        )
