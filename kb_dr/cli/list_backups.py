"""`kb-dr list`: the backups of a repository, and what is proven of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kb_dr.cli.opened import from_option, installation, json_option
from kb_dr.cli.output import moment, print_json, print_table, server_version, size
from kb_dr.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kb_dr.domain.catalog_rows import BackupRows, SyncState
    from kb_dr.installation import BackupOverview, Installation


@click.command("list")
@from_option("primary")
@click.option(
    "--catalog", "from_catalog", is_flag=True,
    help="Every backup there was, as the catalog shows it; the copies when it does not answer.",
)  # fmt: skip
@json_option
def command(copy: str, from_catalog: bool, as_json: bool) -> None:
    """The backups of a repository, oldest first, and where each copy of them stands.

    They are read from the copies themselves, which are the truth. The catalog shows failed,
    expired and purged ones as well, as they were when it was last brought in line.
    """
    opened = installation()
    if from_catalog and _list_catalogued(opened, as_json):
        return
    rows = opened.overview(copy)
    if as_json:
        print_json({"read_from": copy, "backups": rows} if from_catalog else rows)
        return
    _print_overview(copy, rows)


def _list_catalogued(opened: Installation, as_json: bool) -> bool:
    """Whether the catalog could be read; if not, why is said on stderr."""
    try:
        with opened.catalogued() as (state, rows):
            _print_catalogued(state, rows, as_json)
    except CatalogError as error:
        click.echo(f"the catalog cannot be read, these are the copies: {error}", err=True)
        return False
    return True


def _print_catalogued(state: SyncState, rows: Iterator[BackupRows], as_json: bool) -> None:
    # Whole before anything is printed: a catalog that goes away midway is no listing.
    from kb_dr.domain.catalog_rows import CopyState

    found = sorted(rows, key=lambda each: (each.log.backup_timestamp, each.backup_id))
    if as_json:
        print_json({"read_from": "catalog", "synced": state, "backups": found})
        return
    for problem in state.problems:
        click.echo(f"not looked at in the last sync: {problem}", err=True)
    print_table(
        f"Backups in the catalog, as of {moment(state.began)}",
        ("id", "taken", "stored", "status then", "copies and their standing then", "held"),
        (
            (
                each.backup_id,
                moment(each.log.created_at),
                size(each.log.backup_size_bytes),
                each.log.status,
                ", ".join(
                    f"{row.copy} {row.standing if row.state == CopyState.STORED else row.state}"
                    for row in each.copies
                ),
                "held" if any(event.in_force for event in each.holds) else "",
            )
            for each in found
        ),
        caption=f"as of {moment(state.began)}: what happened since is not in it",
    )


def _print_overview(copy: str, rows: tuple[BackupOverview, ...]) -> None:
    print_table(
        f"Backups in {copy}",
        (
            "id",
            "kind",
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
                row.kind,
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
