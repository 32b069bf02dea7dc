"""`kb-dr backup dump`: take a logical dump."""

from __future__ import annotations

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.errors import ConfigurationError

FORMATS = ("plain", "custom", "directory")
"""Those of `DumpFormat`, which no other backup has to load."""


@click.command("dump")
@click.option("--copy", "and_copy", is_flag=True, help="Copy it to each further copy as well.")
@click.option(
    "--to",
    "directory",
    metavar="[DIR]",
    is_flag=False,
    flag_value="",
    help="Into a new file in DIR (KB_BACKUP_LOCAL_PATH), and not into the repository.",
)
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of the file; plain.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Connections that write a directory.")
@json_option
def command(
    and_copy: bool, directory: str | None, form: str | None, jobs: int | None, as_json: bool
) -> None:
    """Take a logical dump of the database into the primary repository.

    For one table lost, or for another version of PostgreSQL; it gives no point in time but its
    own. It is complete when this ends well: rows, counts and sample are of one snapshot.

    With --to into a file of its own (kb-backup-YYYYMMDD-HHMMSS.sql.gz, .dump or .dir) with its
    checksum beside it, for psql or pg_restore; the repository does not know of it.
    """
    from kb_dr.cli.dump_to_file import dump_to
    from kb_dr.cli.take_backup import say_taken, take_backup

    if directory is not None:
        if and_copy:
            raise ConfigurationError(
                "dump: --copy belongs to a dump into the repository",
                hint="Leave --to away, or copy the file yourself.",
            )
        dump_to(directory, form, jobs, as_json)
        return
    if form is not None or jobs is not None:
        raise ConfigurationError(
            "dump: --format and --jobs belong to a dump into a file",
            hint="Give --to DIR as well.",
        )
    opened = installation()
    stored, copied = take_backup(
        opened, lambda watch: opened.back_up_dump(None, watch), and_copy=and_copy
    )
    manifest = stored.manifest
    tables = manifest.fingerprint.tables
    rows = sum(table.rows or 0 for table in tables)
    say_taken(
        opened,
        stored,
        copied,
        kind="logical dump",
        own=(
            ("rows", f"{rows} in {len(tables)} tables, counted in its snapshot"),
            ("snapshot", f"timeline {manifest.wal.timeline}, {manifest.wal.start}"),
        ),
        advice=f"kb-dr verify {manifest.id}",
        as_json=as_json,
    )
