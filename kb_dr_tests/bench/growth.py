"""Measure what grows with what: time should be linear, memory flat.

    python -m kb_dr_tests.bench.growth --backups 100,1000,10000 --segments 10,100,300 --json

What people and Dagster ask of an installation at growing numbers of backups, and a restore at
growing numbers of WAL segments. Nothing is asserted about time.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import click

from kb_dr_tests.bench.contest import US, Growth, Standing
from kb_dr_tests.bench.growth_segments import Replayed, restore_over
from kb_dr_tests.bench.growth_verbs import VERBS, Grown
from kb_dr_tests.bench.growth_world import World, make_world
from kb_dr_tests.bench.usage import clean_environment, python
from kb_dr_tests.catalog_database import CatalogDatabase
from kb_dr_tests.postgres_servers import RunningCluster, programs_of

BACKUPS, SEGMENTS = (100, 1_000, 10_000), (10, 100, 300)

Measured = dict[str, list[tuple[int, Grown]]]
"""Verb to what it took at each number of backups."""


def growth_of(found: Iterable[Standing]) -> tuple[Growth, ...]:
    """What the contest measured of us at more than one size, by work and store."""
    points: dict[str, list[tuple[int, float, int]]] = {}
    for each in found:
        if each.contestant == US and each.segments is None:
            point = (each.plain_bytes, each.seconds, each.peak_bytes)
            points.setdefault(f"{each.work}, {each.store}", []).append(point)
    return tuple(
        Growth(what, "bytes", tuple(sorted(some))) for what, some in points.items() if len(some) > 1
    )


def measure_verbs(
    sizes: Sequence[int],
    below: Path | None,
    say: Callable[[str], None],
    verbs: Sequence[str] = tuple(VERBS),
) -> Measured:
    """Every verb over each number of backups, each in a process of its own."""
    found: Measured = {verb: [] for verb in verbs}
    with ExitStack() as stack:
        databases = stack.enter_context(RunningCluster(programs_of(16), _temporary(stack, below)))
        for size in sorted(sizes):
            world = stack.enter_context(_world(size, below))
            database = CatalogDatabase(databases, f"growth_{size}")
            for verb in verbs:
                grown = run_verb(verb, replace(world, catalog_url=database.url))
                say(f"{size} backups: {verb}: {grown.cpu_seconds:.2f} s of CPU, {grown.said}")
                found[verb].append((size, grown))
    return found


def verbs_growth(measured: Measured) -> tuple[Growth, ...]:
    """CPU seconds and memory of each verb: a machine that is busy says nothing of the clock."""
    return tuple(
        Growth(
            f"{verb}, CPU",
            "backups",
            tuple((size, grown.cpu_seconds, grown.peak_bytes) for size, grown in points),
        )
        for verb, points in measured.items()
    )


def segments_growth(found: Sequence[Replayed]) -> tuple[Growth, ...]:
    """The plans, the whole restore, and each of its phases (whose memory is the whole's)."""
    if not found:
        return ()
    runs = {
        "plan of a restore to the newest": [each.planned for each in found],
        "plan of a restore to a time": [each.planned_to_a_time for each in found],
        "restore": [each.restored for each in found],
    }
    whole = [
        Growth(
            what,
            "segments",
            tuple(
                (each.segments, ran.cost.seconds, ran.peak_bytes)
                for each, ran in zip(found, some, strict=True)
            ),
        )
        for what, some in runs.items()
    ]
    names = dict.fromkeys(name for each in found for name, _ in each.phases)
    return (
        *whole,
        *(
            Growth(
                f"restore: {name}",
                "segments",
                tuple(
                    (each.segments, dict(each.phases).get(name, 0.0), each.restored.peak_bytes)
                    for each in found
                ),
            )
            for name in names
        ),
    )


def run_verb(verb: str, world: World) -> Grown:
    """One verb in a process of its own; AssertionError with its last words when it fails."""
    ran = subprocess.run(
        python("kb_dr_tests.bench.growth_verbs", verb),
        input=json.dumps(asdict(world)),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{verb} ended with {ran.returncode}:\n{ran.stderr[-3000:]}"
    return Grown(**json.loads(ran.stdout))


def table(found: Sequence[Growth]) -> str:
    """Seconds and memory at each size, and how much more than in proportion the last step took."""
    lines = []
    for each in found:
        points = "  ".join(
            f"{size:,}: {seconds:.2f} s, {peak / 2**20:.0f} MiB"
            for size, seconds, peak in each.points
        )
        lines.append(f"{each.what} ({each.unit})  {points}  {_beyond_linear(each)}")
    return "\n".join(lines)


def _beyond_linear(growth: Growth) -> str:
    if len(growth.points) < 2:
        return ""
    (size, seconds, peak), (larger, longer, more) = growth.points[-2:]
    if not seconds or not peak:
        return ""
    return f"time x{longer / seconds:.1f}, memory x{more / peak:.1f} for size x{larger / size:.1f}"


@contextmanager
def _world(backups: int, below: Path | None) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="kb-dr-growth-", dir=below) as directory:
        yield make_world(Path(directory), backups)


def _temporary(stack: ExitStack, below: Path | None) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="kb-dr-growth-", dir=below))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _numbers(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(",") if each)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}, expected numbers with commas between them") from error


@click.command()
@click.option("--backups", default=",".join(map(str, BACKUPS)), show_default=True,
              callback=_numbers, help="Of backups; empty: none.")  # fmt: skip
@click.option("--segments", default=",".join(map(str, SEGMENTS)), show_default=True,
              callback=_numbers, help="Of WAL behind one backup; empty: none.")  # fmt: skip
@click.option("--json", "as_document", is_flag=True, help="One JSON document.")
@click.option(
    "--dir",
    "below",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where to make what is looked at: 10,000 backups are 260,000 small files.",
)
def main(
    backups: tuple[int, ...], segments: tuple[int, ...], as_document: bool, below: Path | None
) -> None:
    """Measure what grows with the number of backups, and with WAL."""

    def say(text: str) -> None:
        click.echo(text, err=True)

    verbs = measure_verbs(backups, below, say) if backups else {}
    replayed = restore_over(segments, below, say) if segments else ()
    found = (*verbs_growth(verbs), *segments_growth(replayed))
    if not as_document:
        click.echo(table(found))
        return
    document = {
        "growth": [asdict(each) for each in found],
        "verbs": [
            asdict(grown) | {"size": size} for some in verbs.values() for size, grown in some
        ],
        # Without what was printed.
        "restores": [
            {
                "segments": each.segments,
                "plan_cpu_seconds": each.planned.cost.cpu_seconds,
                "plan_to_a_time_cpu_seconds": each.planned_to_a_time.cost.cpu_seconds,
                "restore_cpu_seconds": each.restored.cost.cpu_seconds,
            }
            for each in replayed
        ],
    }
    click.echo(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
