"""What was measured as tables: for a terminal, and for docs/performance.md."""

from rich.console import Console
from rich.table import Table

from kb_dr_tests.bench.contest import OURS, PLAIN_CP, Duel, Growth, Standing, duels, standings
from kb_dr_tests.bench.goals import Goal, amount, behind, goals, overlap, per_second, size, work
from kb_dr_tests.bench.growth import growth_of
from kb_dr_tests.bench.limits_sheets import (
    sheet_archives,
    sheet_calls,
    sheet_limits,
    sheet_loads,
    sheet_memory,
    sheet_stages,
    sheet_synced,
)
from kb_dr_tests.bench.results import Findings
from kb_dr_tests.bench.sheet import Sheet, ratio, spread


def sheet_behind(found: Findings) -> Sheet:
    """Every duel we lose, worst first."""
    return Sheet(
        "Where we are behind",
        ("work", "through", "of", "peer", "seconds, ours / theirs", "CPU, ours / theirs",
         "our rounds, s", "their rounds, s", "rounds overlap", "rounds"),
        tuple(
            (work(each.us), each.us.store, amount(each.us), each.peer.contestant,
             ratio(each.seconds_ratio), ratio(each.cpu_ratio), spread(each.us),
             spread(each.peer), _overlap(each), str(each.us.rounds))
            for each in behind(found)
        ),
    )  # fmt: skip


def _overlap(duel: Duel) -> str:
    if duel.us.rounds == 1:
        return "one round"
    return "yes" if overlap(duel) else "no"


def sheet_missed(found: Findings) -> Sheet:
    """Goals that were measured and not reached, farthest first."""
    missed = [each for each in goals(found) if not each.met]
    return Sheet(
        "Goals missed",
        _GOAL_COLUMNS[:-1],
        tuple(_goal(each)[:-1] for each in sorted(missed, key=_distance)),
    )


def sheet_goals(found: Findings) -> Sheet:
    """Every goal, met or not."""
    return Sheet(
        "Goals",
        _GOAL_COLUMNS,
        tuple(_goal(each) for each in goals(found)),
        "The binding limit is the larger of the slowest stage alone and the sum of all stages' "
        "CPU seconds over the cores. Memory is that of all processes of a command, without "
        "PostgreSQL's servers and the store.",
    )


_GOAL_COLUMNS = ("goal", "on", "against", "measured", "asked for", "met")


def _goal(goal: Goal) -> tuple[str, ...]:
    value, limit = f"{goal.value:.2f}", f"{goal.limit:.2f}"
    if goal.limit > 10:
        value, limit = f"{goal.value:.0f}", f"{goal.limit:.0f}"
    elif not goal.met and value == limit:
        # Rounded it would look as if it were reached.
        value = f"{goal.value:.6f}"
    return (
        goal.what, goal.where, goal.against, value,
        f"{'at least' if goal.at_least else 'at most'} {limit}", "yes" if goal.met else "**no**",
    )  # fmt: skip


def _distance(goal: Goal) -> float:
    return goal.value / goal.limit if goal.at_least else -goal.value / goal.limit


def sheet_duels(found: Findings) -> Sheet:
    """Every ratio against every peer."""
    return Sheet(
        "Against every peer",
        ("work", "through", "of", "peer", "seconds, ours / theirs", "CPU, ours / theirs",
         "memory, ours / theirs", "stored, ours / theirs", "rounds"),
        tuple(_duel(each) for each in duels(standings(found.tries))),
        "Below 1 we are ahead. Medians of rounds in which the contestants took turns.",
    )  # fmt: skip


def _duel(duel: Duel) -> tuple[str, ...]:
    us, peer = duel.us, duel.peer
    stored = ""
    if us.stored_bytes and peer.stored_bytes:
        stored = ratio(us.stored_bytes / peer.stored_bytes)
    memory = ratio(us.peak_bytes / peer.peak_bytes) if peer.peak_bytes else ""
    return (
        work(us), us.store, amount(us), peer.contestant, ratio(duel.seconds_ratio),
        ratio(duel.cpu_ratio), memory, stored, str(us.rounds),
    )  # fmt: skip


def sheet_standings(found: Findings) -> Sheet:
    """What each contestant took, work by work."""
    every = standings(found.tries)
    order = {
        key: number
        for number, key in enumerate(
            dict.fromkeys((each.work, each.store, each.plain_bytes) for each in every)
        )
    }
    ordered = sorted(
        every, key=lambda each: (order[each.work, each.store, each.plain_bytes], each.seconds)
    )
    return Sheet(
        "What each took",
        ("work", "through", "of", "contestant", "seconds", "least to most", "rounds",
         "segments/s", "CPU s per GB", "peak MiB", "stored / plain", "requests"),
        tuple(_standing(each) for each in ordered),
        "Quickest first. GB are of plain data: 10^9 bytes before compression. CPU is that of all "
        "processes that took part: the command's own, PostgreSQL's and the store's.",
    )  # fmt: skip


def _standing(each: Standing) -> tuple[str, ...]:
    name = f"**{each.contestant}**" if each.contestant in OURS else each.contestant
    stored = "" if each.stored_bytes is None else f"{each.stored_bytes / each.plain_bytes:.2f}"
    return (
        str(each.work), each.store, amount(each), name, f"{each.seconds:.2f}", spread(each),
        str(each.rounds), f"{per_second(each):.1f}" if each.segments else "",
        f"{each.cpu_seconds / each.plain_bytes * 1e9:.2f}", f"{each.peak_bytes / 2**20:.0f}",
        stored, "" if each.requests is None else f"{each.requests:,}",
    )  # fmt: skip


def sheet_facts(found: Findings) -> Sheet:
    """Who was measured, and where the work was not the same."""
    rows = [
        (each.name, each.version, each.compression, each.encryption or "none",
         "<br>".join(each.uneven))
        for each in found.facts
    ]  # fmt: skip
    rows += [(each.name, "not measured", "", "", each.why) for each in found.left_out]
    return Sheet(
        "Who was measured, and what is uneven",
        ("contestant", "version", "compression", "encryption", "not like ours"),
        tuple(rows),
        f"`{PLAIN_CP}` is no contestant: it is PostgreSQL's own textbook command on a local "
        "directory, the limit of WAL.",
    )


def sheet_idle(found: Findings) -> Sheet:
    """What it costs to do nothing."""
    return Sheet(
        "Doing nothing",
        ("watched for, s", "cores", *(names := _processes(found))),
        tuple(
            (f"{each.seconds:.0f}", f"{each.cores:.3f}",
             *(f"{each.cpu_seconds.get(name, 0.0) / each.seconds:.3f}" for name in names))
            for each in found.idle
        ),
        "Dagster's processes with every schedule and sensor on, and nothing due; in cores.",
    )  # fmt: skip


def _processes(found: Findings) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in found.idle for name in each.cpu_seconds))


def sheet_waiting(found: Findings) -> Sheet:
    """How long a person waits."""
    return Sheet(
        "Waiting",
        ("from", "median s", "least to most", "rounds"),
        tuple(
            (each.what, f"{sorted(each.seconds)[len(each.seconds) // 2]:.2f}",
             f"{min(each.seconds):.2f} to {max(each.seconds):.2f}", str(len(each.seconds)))
            for each in found.waiting
        ),
    )  # fmt: skip


def sheet_growth(found: Findings) -> Sheet:
    """Time and memory at growing sizes."""
    grown = (*growth_of(standings(found.tries)), *found.growth)
    return Sheet(
        "Growth",
        ("what", "of", "seconds", "seconds per unit / at the smallest", "peak MiB",
         "memory / at the smallest"),
        tuple(row for each in grown for row in _points(each)),
        "Linear is 1.00 or less in the fourth column, flat is 1.00 in the last. Units are GB of "
        "plain data (10^9 bytes), 1,000 backups, 100 segments. Of verbs over many backups the "
        "seconds are CPU.",
    )  # fmt: skip


_UNITS = {"bytes": 1e9, "backups": 1e3, "segments": 1e2}


def _points(growth: Growth) -> list[tuple[str, ...]]:
    unit = _UNITS.get(growth.unit, 1.0)
    least, least_seconds, least_peak = growth.points[0]
    rows: list[tuple[str, ...]] = []
    for count, seconds, peak in growth.points:
        amount = size(count) if growth.unit == "bytes" else f"{count:,} {growth.unit}"
        against = ""
        if count and least and least_seconds:
            against = ratio((seconds / count) / (least_seconds / least))
        each = f" ({seconds / count * unit:.2f} per unit)" if count else ""
        memory = (f"{peak / 2**20:.0f}", ratio(peak / least_peak)) if least_peak else ("", "")
        rows.append((growth.what, amount, f"{seconds:.2f}{each}", against, *memory))
    return rows


def sheets(found: Findings) -> tuple[Sheet, ...]:
    """Every table in the order of the page, empty ones too; what we lose comes first."""
    return tuple(
        make(found)
        for make in (
            sheet_behind, sheet_missed, sheet_duels, sheet_standings, sheet_goals, sheet_facts,
            sheet_limits, sheet_stages, sheet_memory, sheet_calls, sheet_idle,
            sheet_waiting, sheet_growth, sheet_loads, sheet_archives, sheet_synced,
        )
    )  # fmt: skip


def print_tables(found: Findings, console: Console) -> None:
    """On a terminal."""
    for sheet in sheets(found):
        if not sheet.rows:
            continue
        table = Table(title=sheet.title, caption=sheet.note or None, title_justify="left")
        for name in sheet.columns:
            table.add_column(name, overflow="fold")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
