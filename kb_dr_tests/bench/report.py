"""What was measured as tables: for a terminal, and for docs/performance.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from kb_dr_tests.bench.contest import OURS, PLAIN_CP, US, Duel, Growth, Standing, duels, standings
from kb_dr_tests.bench.goals import Goal, amount, behind, goals, overlap, per_second, size, work
from kb_dr_tests.bench.growth import growth_of
from kb_dr_tests.bench.results import (
    EACH_FILE,
    MEMORY_LIMIT_BYTES,
    TARGET_RATIO,
    UNFORCED,
    Archive,
    Call,
    Findings,
    Transfer,
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table; without rows nothing was measured for it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def sheet_behind(found: Findings) -> Sheet:
    """Every duel we lose, worst first."""
    return Sheet(
        "Where we are behind",
        ("work", "through", "of", "peer", "seconds, ours / theirs", "CPU, ours / theirs",
         "our rounds, s", "their rounds, s", "rounds overlap"),
        tuple(
            (work(each.us), each.us.store, amount(each.us), each.peer.contestant,
             ratio(each.seconds_ratio), ratio(each.cpu_ratio), _spread(each.us),
             _spread(each.peer), "yes" if overlap(each) else "no")
            for each in behind(found)
        ),
    )  # fmt: skip


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
         "memory, ours / theirs", "stored, ours / theirs"),
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
        ratio(duel.cpu_ratio), memory, stored,
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
        str(each.work), each.store, amount(each), name, f"{each.seconds:.2f}", _spread(each),
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


def sheet_limits(found: Findings) -> Sheet:
    """Our commands against what binds them."""
    return Sheet(
        "Limits: what binds",
        ("", "through", "database", "whole command / limit", "pipeline / limit",
         "CPU / CPU of the stages", "binding", "slowest stage"),
        tuple(
            (each.direction, each.store, size(each.plain_bytes), ratio(each.command_ratio),
             ratio(each.ratio), ratio(each.work_ratio), each.binding,
             each.slowest)
            for each in found.transfers
        ),
        f"Asked for: the whole command within {TARGET_RATIO} of the binding limit.",
    )  # fmt: skip


def sheet_stages(found: Findings) -> Sheet:
    """Each stage alone."""
    return Sheet(
        "Limits: each stage alone, and the command",
        ("", "through", "database", "stage", "wall s", "CPU s"),
        tuple(row for each in found.transfers for row in _stages(each)),
    )


def _stages(transfer: Transfer) -> list[tuple[str, ...]]:
    head = (transfer.direction, transfer.store, size(transfer.plain_bytes))
    rows: list[tuple[str, ...]] = [
        (*head, name, f"{cost.seconds:.2f}", f"{cost.cpu_seconds:.2f}")
        for name, cost in transfer.stages.items()
    ]
    rows.append((*head, "*binding limit*", f"{transfer.floor_seconds:.2f}", ""))
    rows += [
        (*head, f"phase: {name}", f"{seconds:.2f}", "") for name, seconds in transfer.phases.items()
    ]
    command = transfer.command
    rows.append((*head, "*whole command*", f"{command.seconds:.2f}", f"{command.cpu_seconds:.2f}"))
    return rows


def sheet_memory(found: Findings) -> Sheet:
    """Peak memory of our commands against the limit."""
    return Sheet(
        "Peak memory against the limit",
        ("command", "through", "database", "peak / limit", "peak"),
        tuple(
            (each.command, each.store, size(each.plain_bytes), ratio(each.ratio),
             size(each.peak_bytes))
            for each in found.memory
        ),
        f"Limit: {MEMORY_LIMIT_BYTES >> 20} MiB, at every size.",
    )  # fmt: skip


def sheet_calls(found: Findings) -> Sheet:
    """What one call takes of itself."""
    return Sheet(
        "WAL: one call",
        ("call", "through", "wall / bare Python", "share of imports", "wall ms", "CPU ms"),
        tuple(_call(each) for each in found.calls),
    )


def _call(call: Call) -> tuple[str, ...]:
    return (
        call.verb, call.store, f"{call.cost.seconds / call.interpreter_seconds:.1f}",
        f"{call.import_share:.0%}", f"{call.cost.seconds * 1000:.0f}",
        f"{call.cost.cpu_seconds * 1000:.0f}",
    )  # fmt: skip


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
        against = (seconds / count) / (least_seconds / least) if least and count else 1.0
        each = f" ({seconds / count * unit:.2f} per unit)" if count else ""
        memory = (f"{peak / 2**20:.0f}", ratio(peak / least_peak)) if least_peak else ("", "")
        rows.append((growth.what, amount, f"{seconds:.2f}{each}", ratio(against), *memory))
    return rows


def sheet_synced(found: Findings) -> Sheet:
    """A restore with its files forced to disk, and without."""
    every = standings(found.synced)
    forced = {(each.store, each.plain_bytes): each for each in every if each.contestant == US}
    return Sheet(
        "fsync on restore",
        ("", "through", "database", "seconds / as shipped", "CPU / as shipped", "seconds",
         "least to most",
         "rounds"),
        tuple(
            (_forcing(each), each.store, size(each.plain_bytes),
             ratio(each.seconds / with_it.seconds), ratio(each.cpu_seconds / with_it.cpu_seconds),
             f"{each.seconds:.2f}", _spread(each), str(each.rounds))
            for each in every
            if (with_it := forced.get((each.store, each.plain_bytes))) is not None
        ),
        "Forced: PostgreSQL has every file on disk before the restore says that it is done; that "
        "is how restores are shipped, and there is no setting against it. The command alone, "
        "without the start of the server.",
    )  # fmt: skip


def _forcing(each: Standing) -> str:
    ways = {
        US: "forced to disk, as shipped",
        EACH_FILE: "forced file by file",
        UNFORCED: "left to the kernel",
    }
    return ways.get(each.contestant, each.contestant)


def sheet_loads(found: Findings) -> Sheet:
    """Loading a dump through several connections."""
    return Sheet(
        "Dumps: loading through several connections",
        ("archive", "connections", "seconds / one connection", "CPU / one connection",
         "one connection, s"),
        tuple(
            (size(each.archive_bytes), str(each.jobs), ratio(each.ratio),
             ratio(each.several.cpu_seconds / each.one.cpu_seconds), f"{each.one.seconds:.2f}")
            for each in found.loads
        ),
        "Target: below 1. `pg_restore` into an empty database: tables of equal size with "
        "four indexes each, and one with an HNSW index.",
    )  # fmt: skip


def sheet_archives(found: Findings) -> Sheet:
    """Who compresses a dump."""
    return Sheet(
        "Dumps: who compresses the archive",
        ("", "seconds / gzip", "bytes / gzip", "CPU / gzip", "seconds", "stored"),
        tuple(_archive(each, found.archives[0]) for each in found.archives),
        "`pg_dump --format=custom` of the same tables into a file. Ours is an archive that "
        "is not compressed, through a pipe to zstd and age with the product's settings.",
    )


def _archive(archive: Archive, first: Archive) -> tuple[str, ...]:
    return (
        archive.how,
        ratio(archive.cost.seconds / first.cost.seconds),
        ratio(archive.stored_bytes / first.stored_bytes),
        ratio(archive.cost.cpu_seconds / first.cost.cpu_seconds),
        f"{archive.cost.seconds:.2f}",
        size(archive.stored_bytes),
    )


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


def ratio(value: float) -> str:
    """Two digits; never 1.00 for what is more than 1."""
    if value <= 1 or value >= 1.005:
        return f"{value:.2f}"
    return "above 1" if value < 1.00005 else f"{value:.4f}"


def _spread(each: Standing) -> str:
    least, most = each.spread
    return f"{least:.2f} to {most:.2f}"


def line(cells: Sequence[str]) -> str:
    """One row of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
