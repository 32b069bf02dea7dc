"""`kb-dr backup`: take a backup, full or incremental; dumps are in backup_dump.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kb_dr.cli import backup_dump
from kb_dr.cli.opened import installation, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.installation import Installation
    from kb_dr.ports import Progress

    BackUp = Callable[[Installation, Progress], StoredManifest]


@click.group("backup")
def command() -> None:
    """Take a backup."""


command.add_command(backup_dump.command)


@command.command("full")
@click.option("--copy", "and_copy", is_flag=True, help="Copy it to each further copy as well.")
@json_option
def full(and_copy: bool, as_json: bool) -> None:
    """Take a full base backup into the primary repository.

    It is complete when this ends well: its WAL has arrived and its manifest stands.
    """
    _take(lambda opened, watch: opened.back_up(None, watch), and_copy=and_copy, as_json=as_json)


@command.command("incr")
@click.option("--copy", "and_copy", is_flag=True, help="Copy it to each further copy as well.")
@json_option
def incr(and_copy: bool, as_json: bool) -> None:
    """Take an incremental backup into the primary repository.

    What has changed since the last one where the server can tell; else a recovery point, which is
    a named state that the parent's WAL leads to; a full backup where there is no parent. The
    notes say which and why.
    """
    _take(
        lambda opened, watch: opened.back_up_incremental(None, watch),
        and_copy=and_copy,
        as_json=as_json,
    )


def _take(back_up: BackUp, *, and_copy: bool, as_json: bool) -> None:
    from kb_dr.cli.take_backup import say_taken, take_backup
    from kb_dr.domain.increment import describe_kind

    opened = installation()
    stored, copied = take_backup(opened, lambda watch: back_up(opened, watch), and_copy=and_copy)
    manifest = stored.manifest
    wal = manifest.wal
    say_taken(
        opened,
        stored,
        copied,
        kind=describe_kind(manifest),
        own=(("WAL", f"timeline {wal.timeline}, {wal.start} to {wal.stop}"),),
        advice="kb-dr verify latest" if copied else "kb-dr copy, then kb-dr verify latest",
        as_json=as_json,
    )
