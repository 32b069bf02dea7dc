"""The contest of WAL: a burst pushed, and replayed, by each tool in turn.

Nothing is asserted about time. Everything runs below one directory and is gone at the end.
"""

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import click

from kb_dr.domain.manifest import Source
from kb_dr.domain.scratch_configuration import scratch_settings
from kb_dr_tests.bench.contest import US_RESTORING, Facts, Try, Work
from kb_dr_tests.bench.contestants.contestant import Contestant
from kb_dr_tests.bench.contestants.field import contestants_on
from kb_dr_tests.bench.contestants.pgbackrest import PgBackRest
from kb_dr_tests.bench.contestants.plain_cp import PlainCp
from kb_dr_tests.bench.descendants import Took, children, end_orphans
from kb_dr_tests.bench.kb_dr_restores import RestoringKbDr
from kb_dr_tests.bench.site import MAJOR, OVER_TLS, STORES, Site, running_site
from kb_dr_tests.bench.wal_burst import Burst, make_burst
from kb_dr_tests.bench.wal_replay import replay
from kb_dr_tests.bench.whole_tree import orphans_adopted


def contestants_of(site: Site, store: str) -> list[Contestant]:
    """Who takes part on one kind of store."""
    found = list(contestants_on(site, store))
    if any(isinstance(each, PgBackRest) for each in found):
        found.append(PgBackRest(site, store, "one-by-one", asynchronous=False))
    if store == "directory":
        found.insert(0, PlainCp(site))
    return found


def measure_wal_contest(
    site: Site,
    stores: Sequence[str],
    segments: int,
    rounds: int,
    say: Callable[[str], None],
    contestants: Callable[[Site, str], Sequence[Contestant]] = contestants_of,
) -> tuple[list[Try], list[Facts]]:
    """Every contestant's push and replay of the same segments, on each store, in each round.

    In a round they take turns, and who was first in one is last in the next.
    """
    place = site.directory / "wal-contest"
    place.mkdir()
    tries: list[Try] = []
    facts: dict[str, Facts] = {}
    with orphans_adopted(), _restoring(site, stores) as (restoring, source):
        say(f"WAL: {segments} segments are written")
        burst = make_burst(site, segments, place)
        settings = scratch_settings(source, durable=True)
        for store, each in restoring.items():
            say(f"WAL, {store}: archived for `kb-dr restore`")
            burst.begin(each.contestant.archive_command())
            burst.push(each.contestant.archive_command())
        for number in range(1, rounds + 1):
            for store in stores:
                entrants = list(contestants(site, store))
                for contestant in _turned(entrants, number):
                    name = contestant.facts.name
                    facts.setdefault(name, contestant.facts)
                    say(f"WAL, {store}, round {number}: {name}")
                    tries += _one(burst, contestant, store, number, place, settings)
                say(f"WAL, {store}, round {number}: {US_RESTORING}")
                tries.append(_restored(restoring[store], burst, store, number))
    burst.forget()
    shutil.rmtree(place)
    us = next(iter(restoring.values())).contestant.facts
    facts[US_RESTORING] = replace(us, name=US_RESTORING, uneven=(_SERVED,))
    return tries, list(facts.values())


_SERVED = (
    "kb_dr restore: the seconds are those of its phase `replay`, the CPU seconds those of the whole"
    " restore less those of the same restore before the burst was written; its server gets WAL from"
    " the restoring process, which reads ahead."
)


def _turned(entrants: list[Contestant], number: int) -> list[Contestant]:
    return entrants if number % 2 else entrants[::-1]


def _one(
    burst: Burst,
    contestant: Contestant,
    store: str,
    number: int,
    place: Path,
    settings: Mapping[str, str],
) -> Iterator[Try]:
    known = children()
    contestant.prepare()
    try:
        burst.begin(contestant.archive_command())
        before = contestant.stored_bytes()
        seconds, took = burst.push(contestant.archive_command())
        name = contestant.facts.name
        stored = contestant.stored_bytes() - before
        yield _try(burst, Work.PUSH, name, store, number, seconds, took, stored)
        end_orphans(known)
        seconds, took = replay(burst, place / "replay", contestant.restore_command(), settings)
        yield _try(burst, Work.REPLAY, name, store, number, seconds, took)
    finally:
        end_orphans(known)
        contestant.forget()
        shutil.rmtree(place / "replay", ignore_errors=True)


def _restored(restoring: RestoringKbDr, burst: Burst, store: str, number: int) -> Try:
    seconds, took = restoring.restore()
    took.cpu_seconds = max(took.cpu_seconds - restoring.cpu_seconds_before, 0.0)
    return _try(burst, Work.REPLAY, US_RESTORING, store, number, seconds, took)


def _try(
    burst: Burst,
    work: Work,
    name: str,
    store: str,
    number: int,
    seconds: float,
    took: Took,
    stored: int | None = None,
) -> Try:
    return Try(
        work, name, store, burst.plain_bytes, number, seconds, took.cpu_seconds, took.peak_bytes,
        stored_bytes=stored, segments=len(burst.segments),
    )  # fmt: skip


@contextmanager
def _restoring(
    site: Site, stores: Iterable[str]
) -> Iterator[tuple[dict[str, RestoringKbDr], Source]]:
    """An installation on each store with a base backup; and what the backups tell of the source."""
    made = {store: RestoringKbDr(site, store) for store in stores}
    try:
        for each in made.values():
            each.contestant.prepare()
        # To all of them: what the second backup writes, the first one's recovery needs as well.
        site.cluster.archive_with(
            " && ".join(each.contestant.archive_command() for each in made.values())
        )
        source = [each.backup() for each in made.values()][-1]
        site.cluster.archive_everything()
        site.cluster.archive_with("")
        for each in made.values():
            _, took = each.restore()
            each.cpu_seconds_before = took.cpu_seconds
        yield made, source
    finally:
        site.cluster.archive_with("/bin/true")
        for each in made.values():
            each.contestant.forget()


@click.command()
@click.option("--segments", default=30, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1))
@click.option("--stores", default="directory", show_default=True, help="Separated by commas.")
@click.option("--json", "as_document", is_flag=True, help="One JSON document.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where to work: needs about four times the segments.",
)
def main(
    segments: int, rounds: int, stores: str, as_document: bool, directory: Path | None
) -> None:
    """Measure push and replay of WAL, tool by tool."""
    # A plain SIGTERM would leave servers and files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = tuple(stores.split(","))
    if unknown := set(wanted) - set(STORES):
        raise click.BadParameter(f"{', '.join(unknown)}: expected of {', '.join(STORES)}")
    with running_site(directory, major=MAJOR, over_tls=OVER_TLS in wanted) as site:
        site.prepare(2000)
        tries, facts = measure_wal_contest(
            site, wanted, segments, rounds, lambda text: click.echo(text, err=True)
        )
    if as_document:
        found = {"tries": [asdict(e) for e in tries], "facts": [asdict(e) for e in facts]}
        click.echo(json.dumps(found, indent=2))
        return
    for each in tries:
        assert each.segments is not None
        click.echo(
            f"{each.work:20} {each.contestant:24} {each.store:12} {each.seconds:8.2f} s "
            f"{each.segments / each.seconds:7.1f} segments/s "
            f"{each.cpu_seconds / each.segments:7.3f} CPU s/segment "
            f"{each.peak_bytes / 2**20:6.0f} MiB"
        )


if __name__ == "__main__":
    main()
