"""Measure how the verbs that look at a whole repository grow with it; print ratios.

``python -m kb_dr_tests.bench.scale --write docs/scale.md``. Nothing is asserted about time.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from kb_dr_tests.bench.made_history import make_in_bucket, make_in_directory
from kb_dr_tests.bench.scale_page import Scaled, Size, page
from kb_dr_tests.bench.scale_verbs import RAW, VERBS, Measured, Place
from kb_dr_tests.bench.usage import clean_environment, python
from kb_dr_tests.ceph import CephStore

BUCKET, PREFIX = "scale", "default"

IN_DIRECTORY, IN_CEPH = Size(10_000, 1_000_000), Size(10_000, 100_000)


def measure_directory(size: Size, below: Path | None, say: Callable[[str], None]) -> Scaled:
    """Make a repository in a directory, and run every verb on it."""
    with _directory(below) as folder:
        root = folder / "repository"

        def make() -> None:
            make_in_directory(root, size.backups, size.segments)

        return _measure("directory", size, Place(directory=str(root)), say, make)


def measure_ceph(size: Size, say: Callable[[str], None]) -> Scaled:
    """The same in Ceph's gateway."""
    with CephStore() as store:
        store.make_bucket(BUCKET)
        place = Place(
            bucket=BUCKET,
            prefix=PREFIX,
            endpoint_url=store.endpoint_url,
            access_key_id=store.access_key_id,
            secret_access_key=store.secret_access_key,
        )

        def make() -> None:
            make_in_bucket(place.location, size.backups, size.segments)

        return _measure("Ceph RGW", size, place, say, make)


def _measure(
    store: str, size: Size, place: Place, say: Callable[[str], None], make: Callable[[], None]
) -> Scaled:
    say(f"{store}: making {size.backups} backups and {size.segments} segments")
    began = time.perf_counter()
    make()
    made = time.perf_counter() - began
    run_verb(RAW, place)  # what is read was read once before
    verbs = []
    for verb in (RAW, *VERBS):
        measured = run_verb(verb, place)
        say(f"{store}: {verb}: {measured.seconds:.2f} s, {measured.said}")
        verbs.append(measured)
    return Scaled(store, size, made, tuple(verbs))


def run_verb(verb: str, place: Place) -> Measured:
    """One verb in a process of its own; AssertionError with its last words when it fails."""
    ran = subprocess.run(
        python("kb_dr_tests.bench.scale_verbs", verb),
        input=json.dumps(asdict(place)),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{verb} ended with {ran.returncode}:\n{ran.stderr[-3000:]}"
    return Measured(**json.loads(ran.stdout))


@contextmanager
def _directory(below: Path | None) -> Iterator[Path]:
    """Removed at the end, which a million files take a while."""
    folder = Path(tempfile.mkdtemp(prefix="kb-dr-scale-", dir=below))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(
    directory: Size | None, ceph: Size | None, below: Path | None, say: Callable[[str], None]
) -> tuple[Scaled, ...]:
    """All that is asked for."""
    found: list[Scaled] = []
    if directory is not None:
        found.append(measure_directory(directory, below, say))
    if ceph is not None:
        found.append(measure_ceph(ceph, say))
    return tuple(found)


@click.command()
@click.option("--quick", is_flag=True, help="Hundreds: to see that it works, not to measure.")
@click.option("--no-ceph", is_flag=True, help="The directory alone.")
@click.option("--json", "as_document", is_flag=True, help="One JSON document.")
@click.option("--write", type=click.Path(path_type=Path), help="Write the page to this file.")
@click.option(
    "--dir",
    "below",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where to make the directory: a million small files take an inode each.",
)
def main(
    quick: bool, no_ceph: bool, as_document: bool, write: Path | None, below: Path | None
) -> None:
    """Measure what a repository of years costs to look at."""
    small = Size(300, 3_000)
    load = os.getloadavg()[0]
    found = measure(
        small if quick else IN_DIRECTORY,
        None if no_ceph else small if quick else IN_CEPH,
        below,
        lambda text: click.echo(text, err=True),
    )
    text = page(found, load_before=load)
    if write is not None:
        write.write_text(text)
    click.echo(json.dumps([asdict(each) for each in found], indent=2) if as_document else text)


if __name__ == "__main__":
    main()
