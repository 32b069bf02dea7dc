"""`kb-dr list`: the backups of a repository, and what is proven of each."""

import click

from kb_dr.cli.opened import from_option, installation, json_option
from kb_dr.cli.output import moment, print_json, print_table, server_version, size
from kb_dr.installation import BackupOverview


@click.command("list")
@from_option("primary")
@json_option
def command(copy: str, as_json: bool) -> None:
    """The backups of a repository, oldest first, and where each copy of them stands."""
    rows = installation().overview(copy)
    if as_json:
        print_json(rows)
        return
    print_table(
        f"Backups in {copy}",
        ("id", "taken", "PostgreSQL", "size", "stored", "copies and their standing"),
        (
            (
                row.id,
                moment(row.finished),
                server_version(row.postgres),
                size(row.plain_bytes),
                size(row.stored_bytes),
                _copies(row) if row.unreadable is None else f"UNREADABLE: {row.unreadable}",
            )
            for row in rows
        ),
        caption="" if rows else "none; `kb-dr backup full` takes one",
    )


def _copies(row: BackupOverview) -> str:
    said = [f"{name} {standing}" for name, standing in row.standings.items()]
    return ", ".join([*said, *(f"{name}: {why}" for name, why in row.troubles.items())])
