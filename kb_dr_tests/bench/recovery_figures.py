"""What recoveries took and what disasters cost, as values and as the tables of docs/RTO-RPO.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"


@dataclass(frozen=True, slots=True)
class DrillFigures:
    """One drill, by its own record."""

    copy: str
    target: str
    """``a time`` or ``the end``."""
    rto_seconds: float
    phases: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RestoreFigures:
    """A real restore: from the decision to a production that answers."""

    copy: str
    seconds: float
    phases: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LossFigures:
    """What one copy had lost when production was killed under load."""

    mode: str
    copy: str
    lost_seconds: float
    """From the newest commit a drill recovered to the last one that production confirmed."""
    lost_commits: int
    confirmed: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One run."""

    cores: int
    memory_bytes: int
    load_before: float
    tools: Mapping[str, str]
    entries: int
    database_bytes: int
    stored_bytes: int
    rto_objective_seconds: float
    rpo_objective_seconds: float
    drills: tuple[DrillFigures, ...]
    restores: tuple[RestoreFigures, ...]
    losses: tuple[LossFigures, ...]


def put_between_marks(page: str, measured: str) -> str:
    """The page with what stands between the marks replaced; ValueError when they are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN} and {END}, in this order")
    return f"{head}{BEGIN}\n{measured.strip()}\n{END}{tail}"


def markdown(figures: Figures) -> str:
    """What stands between the marks."""
    return "\n\n".join(
        (
            _machine(figures),
            "### RTO: drills",
            _drills(figures),
            "### RTO: phases of a drill",
            "Seconds, the least and the median.",
            _phases(figures.drills),
            "### RTO: a real restore",
            "From the decision to a production that answers again, in its old place.",
            _restores(figures),
            "### RPO: production killed under load",
            _losses(figures),
        )
    )


def _machine(figures: Figures) -> str:
    tools = ", ".join(f"{name} {version}" for name, version in sorted(figures.tools.items()))
    text = (
        f"Measured on {figures.cores} cores and {figures.memory_bytes / (1 << 30):.0f} GiB of "
        "memory with everything on them: production, two S3 regions (rclone), kb-dr. "
        f"{figures.entries:,} entries with vectors of 384 dimensions and an HNSW index: "
        f"{figures.database_bytes / (1 << 20):.0f} MiB, stored as "
        f"{figures.stored_bytes / (1 << 20):.0f} MiB. {tools}."
    )
    if figures.load_before > 0.5:
        text += (
            f" The machine was not quiet: {figures.load_before:.1f} other processes wanted a core "
            "when it began, so a quiet one is faster."
        )
    return text


def _drills(figures: Figures) -> str:
    rows = []
    for (copy, target), found in _by_kind(figures.drills).items():
        seconds = [each.rto_seconds for each in found]
        rows.append(
            (
                copy,
                target,
                str(len(found)),
                f"{min(seconds):.1f}",
                f"{median(seconds):.1f}",
                f"{figures.rto_objective_seconds:.0f}",
                _ratio(median(seconds), figures.rto_objective_seconds),
            )
        )
    heads = ("copy", "to", "drills", "least s", "median s", "allowed s", "median / allowed")
    return _table(heads, rows)


def _phases(drills: Sequence[DrillFigures]) -> str:
    kinds = _by_kind(drills)
    names = dict.fromkeys(name for drill in drills for name in drill.phases)
    rows = []
    for name in names:
        cells = []
        for found in kinds.values():
            seconds = [each.phases[name] for each in found if name in each.phases]
            cells.append(f"{min(seconds):.2f} / {median(seconds):.2f}" if seconds else "")
        rows.append((name, *cells))
    return _table(("phase", *(f"{copy}, to {target}" for copy, target in kinds)), rows)


def _restores(figures: Figures) -> str:
    names = dict.fromkeys(name for each in figures.restores for name in each.phases)
    rows = [
        (name, *(f"{each.phases.get(name, 0.0):.2f}" for each in figures.restores))
        for name in names
    ]
    rows.append(("*all*", *(f"{each.seconds:.1f}" for each in figures.restores)))
    rows.append(
        (
            "*all / allowed*",
            *(_ratio(each.seconds, figures.rto_objective_seconds) for each in figures.restores),
        )
    )
    return _table(("phase", *(f"from {each.copy}" for each in figures.restores)), rows)


def _losses(figures: Figures) -> str:
    return _table(
        ("how WAL left production", "copy", "lost s", "lost commits", "of confirmed", "allowed s",
         "lost / allowed"),
        [
            (
                each.mode,
                each.copy,
                f"{each.lost_seconds:.1f}",
                str(each.lost_commits),
                str(each.confirmed),
                f"{figures.rpo_objective_seconds:.0f}",
                _ratio(each.lost_seconds, figures.rpo_objective_seconds),
            )
            for each in figures.losses
        ],
    )  # fmt: skip


def _by_kind(drills: Iterable[DrillFigures]) -> dict[tuple[str, str], list[DrillFigures]]:
    found: dict[tuple[str, str], list[DrillFigures]] = {}
    for drill in drills:
        found.setdefault((drill.copy, drill.target), []).append(drill)
    return found


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.4f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
