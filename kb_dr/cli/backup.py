"""`kb-dr backup`: take a backup, full or incremental; dumps are in backup_dump.py."""

import click

from kb_dr.cli import backup_dump
from kb_dr.cli.opened import installation, json_option, progress
from kb_dr.cli.output import moment, print_json, print_table, size
from kb_dr.domain.increment import describe_kind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.installation import Installation
from kb_dr.operations.copy_backup import BackupCopy
from kb_dr.ports import Progress


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
    opened = installation()
    if and_copy and not opened.further_copies:
        opened.repository("offsite")  # none configured: said before hours are spent
    watch = progress()
    stored = opened.back_up(None, watch)
    _say(opened, stored, _copied(opened, stored, watch) if and_copy else {}, as_json)


@command.command("incr")
@click.option("--copy", "and_copy", is_flag=True, help="Copy it to each further copy as well.")
@json_option
def incr(and_copy: bool, as_json: bool) -> None:
    """Take an incremental backup into the primary repository.

    What has changed since the last one where the server can tell; else a recovery point, which is
    a named state that the parent's WAL leads to; a full backup where there is no parent. The
    notes say which and why.
    """
    opened = installation()
    if and_copy and not opened.further_copies:
        opened.repository("offsite")
    watch = progress()
    stored = opened.back_up_incremental(None, watch)
    _say(opened, stored, _copied(opened, stored, watch) if and_copy else {}, as_json)


def _copied(opened: Installation, stored: StoredManifest, watch: Progress) -> dict[str, BackupCopy]:
    return {
        copy: opened.copy_backup(stored.manifest.backup_id, copy, watch)
        for copy in opened.further_copies
    }


def _say(
    opened: Installation, stored: StoredManifest, copied: dict[str, BackupCopy], as_json: bool
) -> None:
    manifest = stored.manifest
    if as_json:
        print_json({"manifest": manifest, "digest": stored.digest, "copies": copied})
        return
    seconds = (manifest.finished - manifest.started).total_seconds()
    print_table(
        f"{manifest.id} is complete",
        ("", ""),
        (
            ("kind", describe_kind(manifest)),
            ("taken", f"{moment(manifest.started)}, in {seconds:.1f} s"),
            ("size", f"{size(manifest.plain_bytes)}, stored {size(manifest.stored_bytes)}"),
            (
                "WAL",
                f"timeline {manifest.wal.timeline}, {manifest.wal.start} to {manifest.wal.stop}",
            ),
            ("manifest", f"sha256 {stored.digest}"),
            *(
                (
                    copy,
                    f"copied, {copied[copy].copied_objects} objects"
                    if copied
                    else "not yet copied",
                )
                for copy in opened.further_copies
            ),
            *(("note", note) for note in manifest.notes),
            ("next", "kb-dr verify latest" if copied else "kb-dr copy, then kb-dr verify latest"),
        ),
    )
