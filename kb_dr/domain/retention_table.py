"""A retention plan as rows for people."""

from collections.abc import Iterable
from dataclasses import dataclass

from kb_dr.domain.retention import Decision, RetentionPlan
from kb_dr.domain.wording import moment


@dataclass(frozen=True, slots=True)
class RetentionRow:
    """One backup in the plan."""

    id: str
    taken: str
    tiers: str
    """Those it serves, the shortest first; ``-`` when it serves none."""
    becomes: str
    """``keep`` or ``expire``."""
    why: str


def retention_rows(plan: RetentionPlan) -> tuple[RetentionRow, ...]:
    """Every backup of the plan, oldest first."""
    return tuple(_row(each) for each in plan.decisions)


def retention_table(rows: Iterable[RetentionRow]) -> str:
    """The rows in columns, one line each."""
    cells = [("id", "taken", "tiers", "", "why")]
    cells += [(each.id, each.taken, each.tiers, each.becomes, each.why) for each in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]))
        for row in cells
    )


def _row(decision: Decision) -> RetentionRow:
    return RetentionRow(
        id=decision.id,
        taken=moment(decision.started),
        tiers=", ".join(decision.tiers) or "-",
        becomes="keep" if decision.keep else "expire",
        why="; ".join(decision.reasons),
    )
