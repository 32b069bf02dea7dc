"""`kb-dr backup dump`: take a logical dump."""

import click

from kb_dr.cli.opened import installation, json_option, progress
from kb_dr.cli.output import moment, print_json, print_table, size
from kb_dr.domain.manifest import StoredManifest
from kb_dr.installation import Installation
from kb_dr.operations.copy_backup import BackupCopy


@click.command("dump")
@click.option("--copy", "and_copy", is_flag=True, help="Copy it to each further copy as well.")
@json_option
def command(and_copy: bool, as_json: bool) -> None:
    """Take a logical dump of the database into the primary repository.

    For one table lost, or for another version of PostgreSQL; it gives no point in time but its
    own. It is complete when this ends well: rows, counts and sample are of one snapshot.
    """
    opened = installation()
    if and_copy and not opened.further_copies:
        opened.repository("offsite")  # none configured: said before hours are spent
    watch = progress()
    stored = opened.back_up_dump(None, watch)
    copied = {
        copy: opened.copy_backup(stored.manifest.backup_id, copy, watch)
        for copy in (opened.further_copies if and_copy else ())
    }
    _say(opened, stored, copied, as_json)


def _say(
    opened: Installation, stored: StoredManifest, copied: dict[str, BackupCopy], as_json: bool
) -> None:
    manifest = stored.manifest
    if as_json:
        print_json({"manifest": manifest, "digest": stored.digest, "copies": copied})
        return
    seconds = (manifest.finished - manifest.started).total_seconds()
    tables = manifest.fingerprint.tables
    rows = sum(table.rows or 0 for table in tables)
    print_table(
        f"{manifest.id} is complete",
        ("", ""),
        (
            ("kind", "logical dump"),
            ("taken", f"{moment(manifest.started)}, in {seconds:.1f} s"),
            ("size", f"{size(manifest.plain_bytes)}, stored {size(manifest.stored_bytes)}"),
            ("rows", f"{rows} in {len(tables)} tables, counted in its snapshot"),
            ("snapshot", f"timeline {manifest.wal.timeline}, {manifest.wal.start}"),
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
            ("next", f"kb-dr verify {manifest.id}"),
        ),
    )
