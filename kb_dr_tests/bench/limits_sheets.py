"""Tables of what binds our commands: each stage alone, one call, the disk, who compresses."""

from kb_dr_tests.bench.contest import US, Standing, standings
from kb_dr_tests.bench.goals import size
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
from kb_dr_tests.bench.sheet import Sheet, ratio, spread


def sheet_limits(found: Findings) -> Sheet:
    """Our commands against what binds them."""
    return Sheet(
        "Limits: what binds",
        ("", "through", "database", "whole command / limit", "pipeline / limit",
         "CPU / CPU of the stages", "binding", "slowest stage", "rounds"),
        tuple(
            (each.direction, each.store, size(each.plain_bytes), ratio(each.command_ratio),
             ratio(each.ratio), ratio(each.work_ratio), each.binding,
             each.slowest, str(each.rounds))
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
        (
            "call",
            "through",
            "wall / bare Python",
            "share of imports",
            "wall ms",
            "CPU ms",
            "rounds",
        ),
        tuple(_call(each) for each in found.calls),
    )


def _call(call: Call) -> tuple[str, ...]:
    return (
        call.verb, call.store, f"{call.cost.seconds / call.interpreter_seconds:.1f}",
        f"{call.import_share:.0%}", f"{call.cost.seconds * 1000:.0f}",
        f"{call.cost.cpu_seconds * 1000:.0f}", str(call.rounds),
    )  # fmt: skip


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
             f"{each.seconds:.2f}", spread(each), str(each.rounds))
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
         "one connection, s", "rounds"),
        tuple(
            (size(each.archive_bytes), str(each.jobs), ratio(each.ratio),
             ratio(each.several.cpu_seconds / each.one.cpu_seconds), f"{each.one.seconds:.2f}",
             str(each.rounds))
            for each in found.loads
        ),
        "Target: below 1. `pg_restore` into an empty database: tables of equal size with "
        "four indexes each, and one with an HNSW index.",
    )  # fmt: skip


def sheet_archives(found: Findings) -> Sheet:
    """Who compresses a dump."""
    return Sheet(
        "Dumps: who compresses the archive",
        ("", "seconds / gzip", "bytes / gzip", "CPU / gzip", "seconds", "stored", "rounds"),
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
        str(archive.rounds),
    )
