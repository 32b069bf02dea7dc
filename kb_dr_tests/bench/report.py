"""What was measured as tables: for a terminal, and for docs/performance.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from kb_dr_tests.bench.results import (
    MEMORY_LIMIT_BYTES,
    TARGET_RATIO,
    Archive,
    Call,
    Results,
    Transfer,
)

_QUIET_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def sheets(results: Results) -> tuple[Sheet, ...]:
    """Every table; ratios come first."""
    return (
        Sheet(
            "The pipeline against its slowest stage",
            ("", "through", "database", "pipeline / floor", "without the wait",
             "whole command / floor", "CPU / CPU of the stages", "slowest stage"),
            tuple(
                (t.direction, t.store, _size(t.plain_bytes), f"{t.ratio:.2f}",
                 f"{t.moving_ratio:.2f}", f"{t.command_ratio:.2f}", f"{t.work_ratio:.2f}",
                 t.slowest)
                for t in results.transfers
            ),
            f"Target: pipeline / floor within {TARGET_RATIO}. The floor is the larger of the "
            "slowest stage alone and the CPU of all stages over the cores, measured in the same "
            "run.",
        ),
        Sheet(
            "Peak memory against the limit",
            ("command", "through", "database", "peak / limit", "peak"),
            tuple(
                (m.command, m.store, _size(m.plain_bytes), f"{m.ratio:.2f}", _size(m.peak_bytes))
                for m in results.memory
            ),
            f"Limit: {MEMORY_LIMIT_BYTES >> 20} MiB for all processes of the command, without "
            "PostgreSQL's servers and the store.",
        ),
        Sheet(
            "WAL: many segments",
            ("", "through", "seconds / peer", "peer", "segments", "segments/s",
             "CPU s per segment"),
            tuple(
                (b.what, b.store, f"{b.ratio:.2f}", b.peer, str(b.segments),
                 f"{b.segments_per_second:.1f}", f"{b.cpu_seconds / b.segments:.2f}")
                for b in results.bursts
            ),
            "Full segments of 16 MiB, all ready at once, through a real archiver; and a recovery "
            "over them. The CPU of a recovery is that of the whole restore.",
        ),
        Sheet(
            "WAL: one call",
            ("call", "through", "wall / bare Python", "share of imports", "wall ms", "CPU ms"),
            tuple(_call(each) for each in results.calls),
        ),
        Sheet(
            "Dumps: loading through several connections",
            ("archive", "connections", "seconds / one connection", "CPU / one connection",
             "one connection, s"),
            tuple(
                (_size(each.archive_bytes), str(each.jobs), f"{each.ratio:.2f}",
                 f"{each.several.cpu_seconds / each.one.cpu_seconds:.2f}",
                 f"{each.one.seconds:.2f}")
                for each in results.loads
            ),
            "Target: below 1. `pg_restore` into an empty database: tables of equal size with "
            "four indexes each, and one with an HNSW index.",
        ),
        Sheet(
            "Dumps: who compresses the archive",
            ("", "seconds / gzip", "bytes / gzip", "CPU / gzip", "seconds", "stored"),
            tuple(_archive(each, results.archives[0]) for each in results.archives),
            "`pg_dump --format=custom` of the same tables into a file. Ours is an archive that "
            "is not compressed, through a pipe to zstd and age with the product's settings.",
        ),
        Sheet(
            "Each stage alone, and the command",
            ("", "through", "database", "stage", "wall s", "CPU s"),
            tuple(row for t in results.transfers for row in _stages(t)),
        ),
    )  # fmt: skip


def print_tables(results: Results, console: Console) -> None:
    """On a terminal."""
    for sheet in sheets(results):
        table = Table(title=sheet.title, caption=sheet.note or None, title_justify="left")
        for name in sheet.columns:
            table.add_column(name, overflow="fold")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    console.print(machine(results))


def markdown(results: Results) -> str:
    """The page."""
    parts = [
        "# Performance\n\n"
        "Written by `python -m kb_dr_tests.bench --write docs/performance.md`; `make bench` "
        "measures the same and prints it. Ratios first: they hold on other machines, seconds "
        f"do not.\n\n{machine(results)}"
    ]
    for sheet in sheets(results):
        lines = [f"## {sheet.title}", ""]
        if sheet.note:
            lines += [sheet.note, ""]
        lines.append(_line(sheet.columns))
        lines.append(_line(["---"] * len(sheet.columns)))
        lines += [_line(row) for row in sheet.rows]
        parts.append("\n".join(lines))
    parts.append(_HOW)
    return "\n\n".join(parts) + "\n"


def as_json(results: Results) -> dict[str, Any]:
    """For machines: what was measured, and what is worked out from it."""
    values = asdict(results)
    for target, transfer in zip(values["transfers"], results.transfers, strict=True):
        target |= {
            "floor_seconds": transfer.floor_seconds,
            "slowest": transfer.slowest,
            "ratio": transfer.ratio,
            "moving_ratio": transfer.moving_ratio,
            "command_ratio": transfer.command_ratio,
            "work_ratio": transfer.work_ratio,
        }
    for target, memory in zip(values["memory"], results.memory, strict=True):
        target["ratio"] = memory.ratio
    for target, burst in zip(values["bursts"], results.bursts, strict=True):
        target |= {"ratio": burst.ratio, "segments_per_second": burst.segments_per_second}
    for target, load in zip(values["loads"], results.loads, strict=True):
        target["ratio"] = load.ratio
    return values


def machine(results: Results) -> str:
    """What it was measured on."""
    runs = ", ".join(f"{count} of {mib} MiB" for mib, count in results.repeats.items())
    text = (
        f"Measured on {results.cores} cores with everything on them: PostgreSQL 16, rclone's S3 "
        f"server, kb-dr. What is read was read once before. Medians of these runs: {runs}."
    )
    if results.load_before > _QUIET_LOAD:
        text += (
            f" The machine was not quiet: {results.load_before:.1f} other processes wanted a core "
            "when it began, so the ratios of seconds say little; those of CPU and memory hold."
        )
    return text


_HOW = """\
## How it is measured

- *Server read*: `pg_basebackup` of the same cluster to `/dev/null`; WAL is not kept meanwhile, so nobody waits for an archive.
- *Compress*, *encrypt*, *decrypt*, *decompress*: the libraries the product uses, with its settings, from a file in the page cache to nowhere.
- *Upload*, *fetch*: the product's own writer and reader with its digests, checks and number of transfers, on the same repository.
- *Unpack*: `tar x` of the same tar.
- *Pipeline*: the phase "base backup", or "fetch and unpack", of the real command. A base backup ends when the server has archived its WAL, which it looks at once a second (`do_pg_backup_stop` in PostgreSQL's xlog.c): that wait is in it, and *without the wait* leaves it out.
- CPU is that of all processes that took part: the server's backend, the S3 server, `kb-dr` and its children.
- Peak memory is looked at ten times a second: the high-water mark of the command's own process, and the share (PSS) of its children.
- *In one process* is the same push of the same segments without a start of Python for each, as many at once. *cp* is PostgreSQL's own textbook restore_command, on plain files in a directory."""  # noqa: E501 - one line of the page each


def _stages(transfer: Transfer) -> list[tuple[str, ...]]:
    head = (transfer.direction, transfer.store, _size(transfer.plain_bytes))
    rows: list[tuple[str, ...]] = [
        (*head, name, f"{cost.seconds:.2f}", f"{cost.cpu_seconds:.2f}")
        for name, cost in transfer.stages.items()
    ]
    rows.append((*head, "*floor*", f"{transfer.floor_seconds:.2f}", ""))
    rows += [
        (*head, f"phase: {name}", f"{seconds:.2f}", "") for name, seconds in transfer.phases.items()
    ]
    command = transfer.command
    rows.append((*head, "*whole command*", f"{command.seconds:.2f}", f"{command.cpu_seconds:.2f}"))
    return rows


def _archive(archive: Archive, first: Archive) -> tuple[str, ...]:
    return (
        archive.how,
        f"{archive.cost.seconds / first.cost.seconds:.2f}",
        f"{archive.stored_bytes / first.stored_bytes:.2f}",
        f"{archive.cost.cpu_seconds / first.cost.cpu_seconds:.2f}",
        f"{archive.cost.seconds:.2f}",
        _size(archive.stored_bytes),
    )


def _call(call: Call) -> tuple[str, ...]:
    return (
        call.verb,
        call.store,
        f"{call.cost.seconds / call.interpreter_seconds:.1f}",
        f"{call.import_share:.0%}",
        f"{call.cost.seconds * 1000:.0f}",
        f"{call.cost.cpu_seconds * 1000:.0f}",
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _size(count: int) -> str:
    if count < 1 << 30:
        return f"{count / (1 << 20):.0f} MiB"
    return f"{count / (1 << 30):.2f} GiB"
