"""Measure RTO and RPO on a sandbox: drills, production killed under load, real restores.

Nothing is asserted about time. Everything runs below one directory on loopback and is gone at the
end, also after Ctrl-C.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import psutil

from kb_dr.cli.program import program
from kb_dr.sandbox.bring_up import installation_of, state_of, up
from kb_dr.sandbox.clusters import query, start_cluster
from kb_dr.sandbox.load import WriteLoad, running_load
from kb_dr.sandbox.places import DATABASE, Places
from kb_dr.sandbox.story import archive
from kb_dr.sandbox.take_down import down, lose_production
from kb_dr_tests.bench.recovery_figures import (
    DrillFigures,
    Figures,
    LossFigures,
    RestoreFigures,
    markdown,
    put_between_marks,
)
from kb_dr_tests.bench.usage import clean_environment

COPIES = ("primary", "offsite")
ROUND_SECONDS = 20
"""archive_timeout, and the pause between two copies offsite, where WAL is archived."""
STREAM_SECONDS = 2


class Site:
    """One sandbox, and kb-dr started on it as a person would."""

    def __init__(self, directory: Path, entries: int) -> None:
        self.directory = directory
        self.places: Places = up(directory, entries=entries, say=_say)

    def words(self, *words: str) -> list[str]:
        return [*program(), "--env-file", str(self.places.env_file), *words]

    def run(self, *words: str, statuses: tuple[int, ...] = (0,)) -> str:
        """Run one command; what it printed."""
        done = subprocess.run(
            self.words(*words), env=clean_environment(), capture_output=True, text=True
        )
        if done.returncode not in statuses:
            raise click.ClickException(f"kb-dr {' '.join(words)}: {done.stderr[-3000:]}")
        return done.stdout

    def query(self, statement: str) -> Any:
        return query(state_of(self.directory), "production", statement)[0][0]

    def drill(self, copy: str, *words: str) -> dict[str, Any]:
        """One drill's record; RPO may be broken in it, that is what is measured."""
        told: dict[str, Any] = json.loads(
            self.run("drill", "--from", copy, "--json", *words, statuses=(0, 63))
        )
        if told["drill"]["verdict"] != "PROVEN":
            raise click.ClickException(f"drill from {copy}: {told['drill']['reason']}")
        return told

    def archive_everything(self) -> None:
        """All that was committed stands in both copies."""
        archive(state_of(self.directory))
        self.run("copy")

    @contextmanager
    def copied_offsite(self) -> Iterator[None]:
        """`kb-dr copy --wal-only` again and again, as Dagster runs it, until the block is left."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(ROUND_SECONDS):
                self.run("copy", "--wal-only")

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """`kb-dr wal stream`, killed without a chance to ship more when the block is left."""
        process = subprocess.Popen(
            self.words("wal", "stream", "--every", str(STREAM_SECONDS)),
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            yield
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):  # it may be tied to its parent's life
                    child.kill()
            process.wait()


def measure(directory: Path, *, entries: int, repeats: int, load_seconds: float) -> Figures:
    """Everything, in one sandbox."""
    load_before = os.getloadavg()[0]
    site = Site(directory, entries)
    _say("backup, copy, proof")
    _archive_every(site, ROUND_SECONDS)
    site.run("backup", "full", "--copy")
    with running_load(state_of(directory)) as load:
        load.wait_for(int(load_seconds * 5))
    site.archive_everything()
    site.run("verify", "latest")
    drills, tools = _drills(site, repeats)
    backup = json.loads(site.run("list", "--json"))[-1]
    losses: list[LossFigures] = []
    restores: list[RestoreFigures] = []
    with site.copied_offsite(), running_load(state_of(directory)) as load:
        _let_run(load, max(load_seconds, 2.5 * ROUND_SECONDS))
        lose_production(directory)
    losses += _losses(site, f"archived every {ROUND_SECONDS} s, copied as often", load)
    restores.append(_restore(site, "offsite"))
    site.run("backup", "full", "--copy")
    site.run("verify", "latest")
    _archive_every(site, 300)
    with running_load(state_of(directory)) as load:
        with site.streaming():
            _let_run(load, load_seconds)
        lose_production(directory)  # the stream, on the same host, died a moment before
    losses += _losses(site, f"streamed, shipped every {STREAM_SECONDS} s", load)
    restores.append(_restore(site, "primary"))
    objectives = installation_of(directory).settings.objectives
    return Figures(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        load_before=load_before,
        tools=tools,
        entries=entries,
        database_bytes=int(site.query(f"select pg_database_size('{DATABASE}')")),
        stored_bytes=int(backup["stored_bytes"]),
        rto_objective_seconds=objectives.rto_seconds,
        rpo_objective_seconds=objectives.rpo_seconds,
        drills=tuple(drills),
        restores=tuple(restores),
        losses=tuple(losses),
    )


def _archive_every(site: Site, seconds: int) -> None:
    state = state_of(site.directory)
    query(state, "production", f"alter system set archive_timeout = {seconds}")
    query(state, "production", "select pg_reload_conf()")


def _let_run(load: WriteLoad, seconds: float) -> None:
    load.wait_for(1)
    time.sleep(seconds)


def _drills(site: Site, repeats: int) -> tuple[list[DrillFigures], dict[str, str]]:
    found, tools = [], {}
    for number in range(repeats):
        for copy in COPIES:
            for target, words in (
                ("a time", ("--seed", str(number))),
                ("the end", ("--latest",)),
            ):
                _say(f"drill from {copy} to {target}")
                told = site.drill(copy, *words)
                drill = told["drill"]
                tools = drill["tools"]
                phases = {each["name"]: float(each["seconds"]) for each in drill["phases"]}
                found.append(DrillFigures(copy, target, float(told["rto_seconds"]), phases))
    return found, tools


def _losses(site: Site, mode: str, load: WriteLoad) -> Iterator[LossFigures]:
    """By a drill of each copy to its end: what it recovers, against what was confirmed."""
    last = load.confirmed[-1].at
    for copy in COPIES:
        _say(f"drill of what {copy} has left")
        reach = site.drill(copy, "--latest")["drill"]["reach"]
        newest = datetime.fromisoformat(reach["newest_commit"]).timestamp()
        lost = sum(1 for each in load.confirmed if each.at > newest) - 1
        yield LossFigures(mode, copy, max(0.0, last - newest), max(0, lost), len(load.confirmed))


def _restore(site: Site, copy: str) -> RestoreFigures:
    """Production back in its place, by the command a person types."""
    _say(f"restoring from {copy}")
    target = site.places.restored
    shutil.rmtree(target, ignore_errors=True)
    began = time.monotonic()
    told = json.loads(
        site.run("restore", "--latest", "--from", copy, "--into", str(target), "--json")
    )
    ready = time.monotonic()
    target.rename(site.places.data("production"))
    start_cluster(site.places, state_of(site.directory), "production")
    ended = time.monotonic()
    phases = {each["name"]: float(each["seconds"]) for each in told["phases"]}
    phases["the command's start, and the plan"] = ready - began - sum(phases.values())
    phases["start in its place"] = ended - ready
    return RestoreFigures(copy, ended - began, phases)


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.command()
@click.option("--entries", default=20_000, show_default=True, help="Rows of the knowledge base.")
@click.option("--repeats", default=3, show_default=True, help="Drills of each kind.")
@click.option("--load-seconds", default=30.0, show_default=True, help="How long rows are written.")
@click.option("--write", type=click.Path(path_type=Path, exists=True), help="Into this page.")
@click.option("--dir", "parent", type=click.Path(path_type=Path, exists=True), help="Work here.")
def main(
    entries: int, repeats: int, load_seconds: float, write: Path | None, parent: Path | None
) -> None:
    """Measure what recoveries take and what disasters cost; print it, or write it into a page."""
    # A plain SIGTERM would leave servers and files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(tempfile.mkdtemp(prefix="kb-dr-rto-", dir=parent)) / "sandbox"
    try:
        found = measure(directory, entries=entries, repeats=repeats, load_seconds=load_seconds)
    finally:
        if directory.exists():
            down(directory, purge=True)
        shutil.rmtree(directory.parent, ignore_errors=True)
    measured = markdown(found)
    if write is None:
        click.echo(measured)
    else:
        write.write_text(put_between_marks(write.read_text(), measured))


if __name__ == "__main__":
    main()
