"""What every `kb-dr backup` does: take one, copy it where that was asked for, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kb_dr.cli.opened import progress
from kb_dr.cli.output import moment, print_json, print_table, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.installation import Installation
    from kb_dr.operations.copy_backup import BackupCopy
    from kb_dr.ports import Progress


def take_backup(
    opened: Installation, take: Callable[[Progress], StoredManifest], *, and_copy: bool
) -> tuple[StoredManifest, dict[str, BackupCopy]]:
    """One backup in the primary repository, and its further copies if they are to be made."""
    if and_copy and not opened.further_copies:
        opened.repository("offsite")  # none configured: said before hours are spent
    watch = progress()
    stored = take(watch)
    copied = {
        copy: opened.copy_backup(stored.manifest.backup_id, copy, watch)
        for copy in (opened.further_copies if and_copy else ())
    }
    return stored, copied


def say_taken(
    opened: Installation,
    stored: StoredManifest,
    copied: dict[str, BackupCopy],
    *,
    kind: str,
    own: Sequence[tuple[str, str]],
    advice: str,
    as_json: bool,
) -> None:
    """Print what was taken; ``own`` are the rows that its kind alone has."""
    manifest = stored.manifest
    if as_json:
        print_json({"manifest": manifest, "digest": stored.digest, "copies": copied})
        return
    seconds = (manifest.finished - manifest.started).total_seconds()
    print_table(
        f"{manifest.id} is complete",
        ("", ""),
        (
            ("kind", kind),
            ("taken", f"{moment(manifest.started)}, in {seconds:.1f} s"),
            ("size", f"{size(manifest.plain_bytes)}, stored {size(manifest.stored_bytes)}"),
            *own,
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
            ("next", advice),
        ),
    )
