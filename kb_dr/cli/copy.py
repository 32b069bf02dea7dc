"""`kb-dr copy`: bring backups and WAL to the offsite repository."""

import click

from kb_dr.cli.opened import installation, json_option, parse_backup_id, progress
from kb_dr.cli.output import print_json, print_table, size
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import CopyIncomplete
from kb_dr.operations.copy_offsite import BackupCopy
from kb_dr.operations.copy_wal import WalCopy


@click.command("copy")
@click.argument("backup_id", metavar="[ID]", required=False)
@click.option("--wal-only", is_flag=True, help="Only WAL the offsite repository lacks.")
@json_option
def command(backup_id: str | None, wal_only: bool, as_json: bool) -> None:
    """Copy one backup (default: every one that is not offsite yet), then all newer WAL.

    Digests are compared from both ends; nothing is ever deleted there. An interrupted copy goes
    on where it broke off.
    """
    opened = installation()
    watch = progress()
    if wal_only:
        wanted = []
    elif backup_id is not None:
        wanted = [parse_backup_id(backup_id)]
    else:
        wanted = [
            entry.manifest.backup_id
            for entry in opened.catalog("primary")
            if isinstance(entry, StoredManifest) and not opened.is_offsite(entry)
        ]
    copies = [opened.copy_offsite(each, watch) for each in wanted]
    wal = opened.copy_wal(watch, everything=True)
    if as_json:
        print_json({"backups": copies, "wal": wal})
    else:
        _print(copies, wal)
    # After the tables: what was copied is copied, and what was not must not look like success.
    problems = [each for done in copies for each in done.wal_problems]
    problems += [each for done in wal for each in done.problems if each not in problems]
    if problems:
        raise CopyIncomplete(
            f"copy to offsite: {len(problems)} WAL files could not be: " + "; ".join(problems[:20])
        )


def _print(copies: list[BackupCopy], wal: tuple[WalCopy, ...]) -> None:
    print_table(
        "Copied offsite",
        ("what", "objects", "new", "bytes", "manifest digest"),
        [
            *(
                (c.backup_id, c.objects, c.copied_objects, size(c.copied_bytes), c.digest)
                for c in copies
            ),
            *(
                (f"WAL of {w.system_identifier}", w.copied + w.already, w.copied,
                 size(w.copied_bytes), f"newest: {w.newest or '-'}")
                for w in wal
            ),
        ],
    )  # fmt: skip
