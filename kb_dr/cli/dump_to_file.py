"""`kb-dr backup dump --to DIR`: a dump in a file of its own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kb_dr.cli.opened import installation, progress
from kb_dr.cli.output import moment, print_json, server_version, size

if TYPE_CHECKING:
    from kb_dr.operations.write_local_dump import LocalDump


def dump_to(directory: str, form: str | None, jobs: int | None, as_json: bool) -> None:
    """Write it; path and SHA-256 on stdout, a line each, and a summary on stderr.

    An empty ``directory`` is KB_BACKUP_LOCAL_PATH.
    """
    from kb_dr.domain.dump import DumpFormat

    done = installation().dump_to(
        Path(os.path.expanduser(directory)).absolute() if directory else None,
        DumpFormat(form or DumpFormat.PLAIN),
        progress(),
        jobs=jobs,
    )
    if as_json:
        print_json({"dump": done})
        return
    click.echo(done.path)
    click.echo(done.sha256)
    for name, seen in _summary(done):
        click.echo(f"{name:10} {seen}", err=True)


def _summary(done: LocalDump) -> tuple[tuple[str, str], ...]:
    whole = "" if done.plain_bytes is None else f", {size(done.plain_bytes)} as pg_dump wrote it"
    counted = f"{sum(done.rows.values())} rows in {len(done.rows)} tables, counted in its snapshot"
    return (
        ("written", f"{done.path}, and its checksum beside it"),
        ("of", f"{done.database} at {moment(done.taken)}, LSN {done.lsn}, in {done.seconds:.1f} s"),
        ("size", f"{size(done.size_bytes)}{whole}"),
        *((("MD5", done.md5),) if done.md5 else ()),
        ("PostgreSQL", f"{server_version(done.postgres)}, pg_dump {done.tools['pg_dump']}"),
        (
            "extensions",
            ", ".join(f"{name} {each}" for name, each in done.extensions.items()) or "-",
        ),
        ("schema", done.schema_version or "-"),
        ("holds", counted),
        *(("note", each) for each in done.notes),
        ("next", f"kb-dr validate {shlex.quote(str(done.path))}"),
    )
