"""The contest by itself: backup, restore, check and proof of all contestants.

Needs room for the database, one repository of each contestant, and one restored copy.
"""

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from kb_dr_tests.bench.contest import Duel, Facts, Standing, Try, duels, standings
from kb_dr_tests.bench.contestants.field import contestants_on, not_measured
from kb_dr_tests.bench.measure_contest import Say, measure_contest
from kb_dr_tests.bench.site import OVER_TLS, running_site
from kb_dr_tests.bench.whole_tree import orphans_adopted

MAJOR = 15
"""The newest PostgreSQL that Debian's pgBackRest knows."""
CONTEST_STORES = ("directory", "S3", OVER_TLS)


def run_contest(
    sizes: Sequence[int],
    rounds: int,
    stores: Sequence[str],
    say: Say,
    *,
    durable: bool = True,
    seed_entries: int = 10_000,
    directory: Path | None = None,
) -> tuple[list[Try], dict[str, Facts]]:
    """All tries at growing sizes in MiB, and the facts of everybody who took part, by name."""
    tries: list[Try] = []
    facts: dict[str, Facts] = {}
    with (
        orphans_adopted(),
        running_site(directory, major=MAJOR, over_tls=OVER_TLS in stores) as site,
    ):
        site.prepare(seed_entries)
        for mib in sorted(sizes):
            say(f"{mib} MiB: filling the database")
            site.fill_to(mib)
            for store in stores:
                contestants = contestants_on(site, store)
                facts |= {each.facts.name: each.facts for each in contestants}
                tries += measure_contest(site, store, contestants, rounds, say, durable=durable)
    return tries, facts


def best_duels(found: Sequence[Standing]) -> list[tuple[Duel, Duel]]:
    """Of each work of ours on each store and size: against the quickest peer, and against the one
    that took least CPU."""
    groups: dict[Standing, list[Duel]] = {}
    for each in duels(found):
        groups.setdefault(each.us, []).append(each)
    return [
        (
            max(group, key=lambda duel: duel.seconds_ratio),
            max(group, key=lambda duel: duel.cpu_ratio),
        )
        for group in groups.values()
    ]


def as_document(tries: Sequence[Try], facts: dict[str, Facts]) -> dict[str, Any]:
    """Everything raw, for JSON."""
    return {
        "tries": [asdict(each) for each in tries],
        "facts": [asdict(each) for each in facts.values()],
        "not_measured": list(not_measured()),
    }


def tables(tries: Sequence[Try]) -> list[Table]:
    """What each took, and how we stand against the best."""
    found = standings(tries)
    costs = Table(
        "work", "store", "MiB", "contestant", "seconds", "CPU s", "CPU s/GiB", "peak MiB",
        "stored MiB", "requests", title="Contest", title_justify="left",
    )  # fmt: skip
    for each in sorted(found, key=lambda one: (one.plain_bytes, one.store, one.work)):
        costs.add_row(
            each.work, each.store, str(each.plain_bytes >> 20), each.contestant,
            f"{each.seconds:.2f} ({each.spread[0]:.2f}-{each.spread[1]:.2f})",
            f"{each.cpu_seconds:.2f}", f"{each.cpu_seconds * 2**30 / each.plain_bytes:.2f}",
            str(each.peak_bytes >> 20),
            "" if each.stored_bytes is None else f"{each.stored_bytes / 2**20:.1f}",
            "" if each.requests is None else str(each.requests),
        )  # fmt: skip
    ratios = Table(
        "work", "store", "MiB", "time ratio", "quickest peer", "CPU ratio", "peer of least CPU",
        title="kb_dr / best peer (below 1: ahead)", title_justify="left",
    )  # fmt: skip
    for quickest, thriftiest in best_duels(found):
        us = quickest.us
        ratios.add_row(
            us.work, us.store, str(us.plain_bytes >> 20),
            f"{quickest.seconds_ratio:.2f}", quickest.peer.contestant,
            f"{thriftiest.cpu_ratio:.2f}", thriftiest.peer.contestant,
        )  # fmt: skip
    return [costs, ratios]


def _numbers(_context: click.Context, _option: click.Parameter, value: str) -> list[int]:
    if not all(part.isdecimal() and int(part) > 0 for part in value.split(",")):
        raise click.BadParameter("sizes in MiB, separated by commas")
    return [int(part) for part in value.split(",")]


def _stores(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    found = value.split(",")
    if unknown := set(found) - set(CONTEST_STORES):
        raise click.BadParameter(f"no such store: {', '.join(sorted(unknown))}")
    return found


@click.command()
@click.option("--mib", "sizes", default="200", show_default=True, callback=_numbers)
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--stores", default=",".join(CONTEST_STORES), show_default=True, callback=_stores,
    help="Where the repositories lie.",
)  # fmt: skip
@click.option("--without-fsync", is_flag=True, help="Start the restored servers with fsync off.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document: each try, raw.")
@click.option("--dir", "directory", type=click.Path(path_type=Path, exists=True))
def main(
    sizes: list[int],
    rounds: int,
    stores: list[str],
    without_fsync: bool,
    as_json: bool,
    directory: Path | None,
) -> None:
    """Hold kb-dr against pgBackRest, barman-cloud and plain pipes."""
    # A plain SIGTERM would leave servers and files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tries, facts = run_contest(
        sizes, rounds, stores, lambda text: click.echo(text, err=True),
        durable=not without_fsync, directory=directory,
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps(as_document(tries, facts), indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    for table in tables(tries):
        console.print(table)
    for each in facts.values():
        console.print(
            f"{each.name} {each.version}: {each.compression}; {each.encryption or 'no encryption'}"
        )
        for sentence in each.uneven:
            console.print(f"  {sentence}")
    for sentence in not_measured():
        console.print(f"Not measured: {sentence}")


if __name__ == "__main__":
    main()
