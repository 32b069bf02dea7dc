"""`kb-dr backup full` and `kb-dr backup incr`: take a backup."""

import click

from kb_dr.cli.opened import installation, json_option, progress
from kb_dr.cli.output import moment, print_json, print_table, size
from kb_dr.domain.increment import describe_kind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.operations.copy_offsite import BackupCopy


@click.group("backup")
def command() -> None:
    """Take a backup."""


@command.command("full")
@click.option("--copy", "and_copy", is_flag=True, help="Copy it offsite as well.")
@json_option
def full(and_copy: bool, as_json: bool) -> None:
    """Take a full base backup into the primary repository.

    It is complete when this ends well: its WAL has arrived and its manifest stands.
    """
    opened = installation()
    if and_copy:
        opened.repository("offsite")  # none configured: said before hours are spent
    watch = progress()
    stored = opened.back_up(None, watch)
    copied = opened.copy_offsite(stored.manifest.backup_id, watch) if and_copy else None
    _say(stored, copied, as_json)


@command.command("incr")
@click.option("--copy", "and_copy", is_flag=True, help="Copy it offsite as well.")
@json_option
def incr(and_copy: bool, as_json: bool) -> None:
    """Take an incremental backup into the primary repository.

    What has changed since the last one where the server can tell; else a recovery point, which is
    a named state that the parent's WAL leads to; a full backup where there is no parent. The
    notes say which and why.
    """
    opened = installation()
    if and_copy:
        opened.repository("offsite")
    watch = progress()
    stored = opened.back_up_incremental(None, watch)
    copied = opened.copy_offsite(stored.manifest.backup_id, watch) if and_copy else None
    _say(stored, copied, as_json)


def _say(stored: StoredManifest, copied: BackupCopy | None, as_json: bool) -> None:
    manifest = stored.manifest
    if as_json:
        print_json({"manifest": manifest, "digest": stored.digest, "offsite": copied})
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
            ("offsite", f"copied, {copied.copied_objects} objects" if copied else "not yet copied"),
            *(("note", note) for note in manifest.notes),
            ("next", "kb-dr verify latest" if copied else "kb-dr copy, then kb-dr verify latest"),
        ),
    )
