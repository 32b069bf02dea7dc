"""How long a dump, its proof and its restore take for so many entries: a table for a document.

``python -m kb_dr_tests.bench.dump_times --write docs/logical-dumps.md`` puts it between the marks
there. Each is the whole command, through an S3 server, from its start to its end.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from kb_dr_tests.bench.site import DATABASE, Site, running_site
from kb_dr_tests.bench.usage import clean_environment, run

ENTRIES = (100, 1_000, 10_000)
BEGIN, END = "<!-- times: begin -->", "<!-- times: end -->"
_QUIET_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Times:
    """Of one database; seconds on the wall."""

    entries: int
    database_bytes: int
    stored_bytes: int
    dump_seconds: float
    proof_seconds: float
    restore_seconds: float


def measure_times(entries: int, say: Callable[[str], None], directory: Path | None = None) -> Times:
    """Make a database of that many entries, dump it, prove the dump, and restore it beside."""
    with running_site(directory) as site:
        say(f"{entries} entries: filling the database")
        site.prepare(entries)
        file = site.env_file("S3", f"entries-{entries}")
        say(f"{entries} entries: dump, proof, restore")
        dump, dump_seconds = _timed(site, file, "backup", "dump", "--json")
        manifest = json.loads(dump)["manifest"]
        backup = str(manifest["id"])
        _, proof_seconds = _timed(site, file, "verify", backup, "--from", "primary")
        _, restore_seconds = _timed(site, file, "restore", "--backup", backup)
        _require_restored(site, entries)
        return Times(
            entries=entries,
            database_bytes=site.database_bytes(),
            stored_bytes=sum(int(chunk["size_bytes"]) for chunk in manifest["chunks"]),
            dump_seconds=dump_seconds,
            proof_seconds=proof_seconds,
            restore_seconds=restore_seconds,
        )


def table(found: Sequence[Times], *, load_before: float) -> str:
    """What stands in the document."""
    lines = [
        "| entries | database | stored | dump | proof | restore beside |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        lines.append(
            f"| {each.entries:,} | {each.database_bytes / 2**20:.0f} MiB"
            f" | {each.stored_bytes / 2**20:.1f} MiB | {each.dump_seconds:.1f} s"
            f" | {each.proof_seconds:.1f} s | {each.restore_seconds:.1f} s |"
        )
    busy = ", while others worked on it" if load_before > _QUIET_LOAD else ""
    lines.append(
        "\nWhole commands, on a machine with "
        f"{len(os.sched_getaffinity(0))} cores{busy}, by `python -m kb_dr_tests.bench.dump_times`. "
        "The promise is 5 minutes for a backup of 1,000, 10 for its restore, 30 for 10,000."
    )
    return "\n".join(lines)


def between_marks(document: str, text: str) -> str:
    """The document with this between its marks; ValueError when it has none."""
    if BEGIN not in document or END not in document:
        raise ValueError(f"no {BEGIN} and {END} in it")
    before, rest = document.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}"


def _timed(site: Site, file: Path, *words: str) -> tuple[str, float]:
    with tempfile.TemporaryDirectory() as empty:
        ran = run(site.kb_dr(file, *words), env=clean_environment(), cwd=Path(empty))
    return ran.output, ran.cost.seconds


def _require_restored(site: Site, entries: int) -> None:
    made = [
        name
        for (name,) in site.cluster.query("select datname from pg_database")
        if re.fullmatch(rf"{DATABASE}_restored_\d.*", name)
    ]
    assert len(made) == 1, made
    assert site.cluster.query("select count(*) from chunks", database=made[0]) == [(entries,)]


@click.command()
@click.option("--write", type=click.Path(path_type=Path, exists=True), help="Into this document.")
def main(write: Path | None) -> None:
    """Measure, and print the table."""
    load = os.getloadavg()[0]
    found = [measure_times(each, lambda text: click.echo(text, err=True)) for each in ENTRIES]
    text = table(found, load_before=load)
    if write is not None:
        write.write_text(between_marks(write.read_text(), text))
    click.echo(text)


if __name__ == "__main__":
    main()
