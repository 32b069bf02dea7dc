"""Measure speed and memory; print ratios. Nothing is asserted about time.

Everything runs below one directory on loopback ports and is gone at the end, also after Ctrl-C.
"""

import json
import os
import signal
import sys
from pathlib import Path

import click
from rich.console import Console

from kb_dr_tests.bench.dumps import measure_dumps
from kb_dr_tests.bench.report import as_json, markdown, print_tables
from kb_dr_tests.bench.results import Archive, Burst, Call, Load, Memory, Results, Transfer
from kb_dr_tests.bench.site import STORES, running_site
from kb_dr_tests.bench.transfers import measure_transfers
from kb_dr_tests.bench.wal import measure_wal

_LARGE_MIB = 1000
"""From here on one run is enough: it is long, and steady."""
_QUICK_MIB = 20
_QUICK_SEGMENTS = 6
_QUICK_SEED_ENTRIES = 2000
_QUICK_DUMP_MIB = 10


def measure(
    sizes: list[int],
    *,
    segments: int,
    repeats: int = 3,
    stores: tuple[str, ...] = STORES,
    seed_entries: int = 10_000,
    dump_mib: int = 300,
    directory: Path | None = None,
) -> Results:
    """Run the whole bench; ``segments`` 0 leaves the WAL out, ``dump_mib`` 0 the dumps."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    counts = {mib: 1 if mib >= _LARGE_MIB else repeats for mib in sizes}
    transfers: list[Transfer] = []
    memory: list[Memory] = []
    calls: list[Call] = []
    bursts: list[Burst] = []
    archives: list[Archive] = []
    loads: list[Load] = []
    with running_site(directory) as site:
        site.prepare(seed_entries)
        if segments:
            calls, bursts = measure_wal(site, stores, segments, _say)
        if dump_mib:
            archives, loads = measure_dumps(site, dump_mib, repeats, _say)
        for mib, count in counts.items():
            _say(f"{mib} MiB: filling the database")
            site.fill_to(mib)
            found, peaks = measure_transfers(site, stores, mib, count, cores, _say)
            transfers += found
            memory += peaks
    return Results(
        cores=cores,
        load_before=load,
        repeats={str(mib): count for mib, count in counts.items()},
        transfers=tuple(transfers),
        memory=tuple(memory),
        calls=tuple(calls),
        bursts=tuple(bursts),
        archives=tuple(archives),
        loads=tuple(loads),
    )


def _say(text: str) -> None:
    click.echo(text, err=True)


def _sizes(_context: click.Context, _option: click.Parameter, value: str) -> list[int]:
    if value == "0":
        return []
    parts = value.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter("sizes in MiB, separated by commas")
    return sorted({int(part) for part in parts})


@click.command()
@click.option(
    "--mib",
    "sizes",
    default="200,2000",
    show_default=True,
    callback=_sizes,
    help="Sizes of the database; 0: none.",
)
@click.option("--segments", default=200, show_default=True, help="WAL segments of the burst.")
@click.option("--dump-mib", default=300, show_default=True, help="Size of what is dumped; 0: none.")
@click.option("--quick", is_flag=True, help="Tiny sizes: to see that it works, not to measure.")
@click.option("--json", "as_document", is_flag=True, help="One JSON document.")
@click.option("--write", type=click.Path(path_type=Path), help="Write the page to this file.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, exists=True),
    help="Where to work: needs about five times the largest size.",
)
def main(
    sizes: list[int],
    segments: int,
    dump_mib: int,
    quick: bool,
    as_document: bool,
    write: Path | None,
    directory: Path | None,
) -> None:
    """Measure speed and memory of kb-dr against its slowest stage."""
    # A plain SIGTERM would leave servers and files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if quick:
        results = measure(
            [_QUICK_MIB], segments=_QUICK_SEGMENTS, repeats=1, seed_entries=_QUICK_SEED_ENTRIES,
            dump_mib=_QUICK_DUMP_MIB, directory=directory,
        )  # fmt: skip
    else:
        results = measure(sizes, segments=segments, dump_mib=dump_mib, directory=directory)
    if write is not None:
        write.write_text(markdown(results))
    if as_document:
        click.echo(json.dumps(as_json(results), indent=2))
    else:
        console = Console(highlight=False)
        print_tables(
            results, console if console.is_terminal else Console(highlight=False, width=160)
        )


if __name__ == "__main__":
    main()
