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
        (
            "id",
            "taken",
            "made against",
            "PostgreSQL",
            "size",
            "stored",
            "copies and their standing",
            "held",
        ),
        (
            (
                row.id,
                moment(row.finished),
                _parent(row),
                server_version(row.postgres),
                size(row.plain_bytes),
                size(row.stored_bytes),
                _standing(row),
                "; ".join(row.holds),
            )
            for row in rows
        ),
        caption="" if rows else "none; `kb-dr backup full` takes one",
    )


def _parent(row: BackupOverview) -> str | None:
    """Without the service's name: people look for ids of backups that are here."""
    return None if row.parent is None else "-".join(row.parent.split("-")[-3:])


def _standing(row: BackupOverview) -> str:
    if row.unreadable is not None:
        return f"UNREADABLE: {row.unreadable}"
    if row.broken is not None:
        # Whatever was proven of it before: a link of its chain is gone.
        return "BROKEN: `kb-dr show` says why"
    said = [f"{name} {standing}" for name, standing in row.standings.items()]
    return ", ".join([*said, *(f"{name}: {why}" for name, why in row.troubles.items())])
