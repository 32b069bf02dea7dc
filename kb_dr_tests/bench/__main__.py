"""Measure kb_dr beside other tools and beside its limits; write docs/performance.md.

Nothing is asserted about time. Everything runs below one directory on loopback ports and is gone
at the end, also after Ctrl-C; what was measured by then is kept.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from kb_dr_tests.bench import kept, picture
from kb_dr_tests.bench.growth import BACKUPS, SEGMENTS
from kb_dr_tests.bench.kept import FORMAT, Asked, Run
from kb_dr_tests.bench.machine_facts import Machine, look_at_machine
from kb_dr_tests.bench.page import PICTURE, page
from kb_dr_tests.bench.parts import (
    KINDS,
    Planned,
    Workbench,
    free_bytes,
    needed_bytes,
    place_on_page,
    plan,
)
from kb_dr_tests.bench.report import print_tables
from kb_dr_tests.bench.running import run_parts
from kb_dr_tests.bench.site import MAJOR, OVER_TLS, STORES

USUAL = Asked(
    sizes_mib=(200, 2000),
    rounds=3,
    segments=500,
    dump_mib=300,
    stores=("directory", OVER_TLS),
    seed_entries=10_000,
    # What is due every five minutes falls into it once, whenever it begins.
    idle_seconds=300.0,
    growth_backups=BACKUPS,
    growth_segments=SEGMENTS,
)
QUICK = replace(
    USUAL,
    sizes_mib=(20,),
    rounds=1,
    segments=6,
    dump_mib=10,
    seed_entries=2000,
    idle_seconds=0.0,
    growth_backups=(5, 10),
    growth_segments=(2, 4),
    quick=True,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, DOCUMENT, UNFINISHED = "performance.md", "performance.json", "performance.partial.json"


def measure(
    asked: Asked,
    *,
    only: Sequence[str] = (),
    before: Run | None = None,
    resume: bool = False,
    out: Path | None = None,
    directory: Path | None = None,
) -> Run:
    """Measure what ``asked`` says; of what ``before`` holds, the same parts are replaced.

    ``only`` names kinds of parts; with ``resume`` those that ``before`` has measured already are
    left out. After each part all there is is kept in ``out``.
    click.ClickException when there is too little room, or when ``before`` is of another machine.
    """
    parts = plan(asked, only)
    where = Path(directory or tempfile.gettempdir())
    machine = look_at_machine(where, MAJOR)
    run = Run(FORMAT, machine, asked, tuple(only), datetime.now(UTC).replace(microsecond=0), {})
    if before is not None:
        _check_machine(before.machine, machine)
        run = before if resume else replace(run, parts=before.parts)
    if resume:
        parts = tuple(each for each in parts if not run.has_measured(each.name))
    _check_room(parts, where)
    bench = Workbench(asked, where, machine.cores, _stopwatch())

    def keep(so_far: Run) -> None:
        if out is not None:
            kept.save(so_far.in_order(place_on_page), out / UNFINISHED)

    try:
        run = run_parts(run, parts, bench, keep)
    finally:
        bench.close()
    return run.in_order(place_on_page)


def write(run: Run, out: Path) -> None:
    """The page, its picture and the document it is made from."""
    kept.save(run, out / DOCUMENT)
    drawn = picture.draw(run.findings, f"kb_dr beside its peers, {run.machine.processor}, "
                                       f"{run.machine.cores} cores")  # fmt: skip
    if drawn is not None:
        (out / PICTURE).parent.mkdir(parents=True, exist_ok=True)
        (out / PICTURE).write_bytes(drawn)
    (out / PAGE).write_text(page(run, with_picture=drawn is not None))
    (out / UNFINISHED).unlink(missing_ok=True)


def _check_room(parts: Sequence[Planned], where: Path) -> None:
    needed, free = needed_bytes(parts), free_bytes(where)
    if parts and free < needed:
        raise click.ClickException(
            f"work in {where}: {free / 1e9:.1f} GB are free, expected about {needed / 1e9:.1f} GB. "
            "Name another directory with --dir, or smaller sizes with --mib."
        )


def _check_machine(before: Machine, now: Machine) -> None:
    if not before.is_like(now):
        raise click.ClickException(
            "go on with what is kept: it was measured on another machine, or with other versions: "
            f"{'; '.join(before.unlike(now))}. "
            "Results of both do not belong on one page: begin anew."
        )


def _stopwatch() -> Callable[[str], None]:
    """Says what is going on, and since when."""
    began = time.monotonic()

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        click.echo(f"{minutes:3d}:{seconds:02d}  {text}", err=True)

    return say


def _sizes(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    if value is None:
        return None
    if value == "0":
        return ()
    parts = value.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter("sizes in MiB, separated by commas")
    return tuple(sorted({int(part) for part in parts}))


def _load(file: Path) -> Run:
    try:
        return kept.load(file)
    except FileNotFoundError as error:
        raise click.ClickException(f"read {file}: it is not there") from error
    except ValueError as error:
        raise click.ClickException(f"read {file}: {error}") from error


def _before(out: Path | None, *, resume: bool, only: Sequence[str], anew: bool) -> Run | None:
    """What is kept of earlier commands, where this one goes on with it."""
    if out is None or anew:
        return None
    unfinished, finished = out / UNFINISHED, out / DOCUMENT
    if resume:
        return _load(unfinished)
    if only:
        newest = unfinished if unfinished.exists() else finished
        return _load(newest) if newest.exists() else None
    if unfinished.exists():
        raise click.ClickException(
            f"{unfinished} holds a run that did not end: go on with it by --resume, write the page "
            f"from it by --from, or begin --anew."
        )
    return None


@click.command()
@click.option(
    "--mib",
    "sizes",
    callback=_sizes,
    help="Sizes of the database, 0 for none; 200,2000 unless given.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Of each work; 3 unless given.")
@click.option(
    "--segments",
    type=click.IntRange(min=0),
    help="WAL segments of the burst and the replay, 0 for none; 500 unless given.",
)
@click.option(
    "--dump-mib",
    type=click.IntRange(min=0),
    help="Size of what is dumped, 0 for nothing; 300 unless given.",
)
@click.option(
    "--seed-entries",
    type=click.IntRange(min=1),
    help="Rows the database is made of, again and again; 10000 unless given.",
)
@click.option(
    "--store",
    "stores",
    type=click.Choice(STORES),
    multiple=True,
    help="Where backups go; once for each; a directory and S3 over TLS unless given.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Tiny sizes: to see that it works, not to measure. Writes only with --out.",
)
@click.option(
    "--only",
    type=click.Choice(KINDS),
    multiple=True,
    help="Measure parts of this kind alone; what is on the page else stays there.",
)
@click.option("--anew", is_flag=True, help="Keep nothing of what was measured before.")
@click.option("--resume", is_flag=True, help="Go on with a run that did not end.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Measure nothing: write the page anew from this file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the page, its picture and its JSON; docs/ unless given.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where to work: needs about four times the largest size, with limits eight times.",
)
def main(
    sizes: tuple[int, ...] | None,
    rounds: int | None,
    segments: int | None,
    dump_mib: int | None,
    seed_entries: int | None,
    stores: tuple[str, ...],
    quick: bool,
    only: tuple[str, ...],
    anew: bool,
    resume: bool,
    source: Path | None,
    out: Path | None,
    directory: Path | None,
) -> None:
    """Measure kb-dr beside other tools and beside its limits."""
    # A plain SIGTERM would leave servers and files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if out is None and not quick:
        out = DOCS
    if source is not None:
        run = _load(source)
    else:
        wanted = {"sizes_mib": sizes, "rounds": rounds, "segments": segments, "dump_mib": dump_mib,
                  "seed_entries": seed_entries, "stores": stores or None}  # fmt: skip
        given = {name: value for name, value in wanted.items() if value is not None}
        if resume and (given or only or anew or out is None):
            raise click.ClickException("--resume goes on with what was asked for: give no more.")
        before = _before(out, resume=resume, only=only, anew=anew)
        if resume and before is not None:
            asked, only = before.asked, before.only
        else:
            asked = replace(
                QUICK if quick else USUAL,
                **given,  # type: ignore[arg-type]  # each under its own name
            )
        run = measure(
            asked, only=only, before=before, resume=resume, out=out, directory=directory
        )  # fmt: skip
    if out is not None:
        write(run, out)
        click.echo(f"written: {out / PAGE}", err=True)
    console = Console(highlight=False)
    print_tables(
        run.findings, console if console.is_terminal else Console(highlight=False, width=160)
    )


if __name__ == "__main__":
    main()
