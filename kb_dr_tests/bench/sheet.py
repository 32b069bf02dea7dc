"""One table, and how its figures are written."""

from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr_tests.bench.contest import Standing


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table; without rows nothing was measured for it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def ratio(value: float) -> str:
    """Two digits; never 1.00 for what is more than 1."""
    if value <= 1 or value >= 1.005:
        return f"{value:.2f}"
    return "above 1" if value < 1.00005 else f"{value:.4f}"


def spread(each: Standing) -> str:
    """The least and the most seconds; of one round there is no spread."""
    least, most = each.spread
    return f"{least:.2f} to {most:.2f}" if each.rounds > 1 else f"{least:.2f}"


def line(cells: Sequence[str]) -> str:
    """One row of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
