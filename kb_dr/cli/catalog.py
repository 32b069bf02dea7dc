"""`kb-dr catalog`: the database that shows what the copies hold."""

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import moment, print_json, print_table
from kb_dr.errors import CatalogError
from kb_dr.operations.sync_catalog import Synced

_WAIT_SECONDS = 600.0


@click.group("catalog")
def command() -> None:
    """The database that shows what the copies hold; no backup and no restore needs it."""


@command.command("sync")
@json_option
def sync(as_json: bool) -> None:
    """Bring it in line with the copies; cheap when nothing changed."""
    _tell(installation().sync_catalog(wait_seconds=_WAIT_SECONDS), "changed", as_json)


@command.command("rebuild")
@json_option
def rebuild(as_json: bool) -> None:
    """Make it anew from the copies alone; until it is whole, readers see the old one."""
    _tell(installation().rebuild_catalog(), "rebuilt", as_json)


@command.command("check")
@json_option
def check(as_json: bool) -> None:
    """Compare it with the copies, in both directions; change neither. Exit 0 if they agree."""
    opened = installation()
    found = opened.check_catalog()
    if as_json:
        print_json(found)
    else:
        said = "agrees with" if found.agrees else "differs from"
        synced = moment(found.state.began) if found.state else "never"
        print_table(
            f"The catalog {said} the copies: {found.backups} backups, synced {synced}",
            ("backup", "where", "the catalog says", "the copies say"),
            ((each.backup_id, each.where, each.catalog, each.buckets) for each in found.found),
            caption="; ".join(f"{each} (nothing can be said of it)" for each in found.silent),
        )
    if found.state is None:
        raise CatalogError("check the catalog: it was never brought in line")
    if found.differing:
        raise CatalogError(
            f"check the catalog: {found.differing} backups differ from the copies",
            hint="`kb-dr catalog sync` brings in what changed, `kb-dr catalog rebuild` everything.",
        )
    _refuse_silence(found.silent, "checked")


def _tell(done: Synced, word: str, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        print_table(
            f"{done.state.backups} backups in the catalog",
            ("", ""),
            (
                (word, done.changed),
                ("removed", done.removed),
                ("as of", moment(done.state.began)),
                *((each.copy, each.problem or each.url) for each in done.state.copies),
            ),
        )
    _refuse_silence(done.state.problems, word)


def _refuse_silence(problems: tuple[str, ...], word: str) -> None:
    if problems:
        raise CatalogError(
            f"{word} without what did not answer: {'; '.join(problems)}",
            hint="What only that copy holds is shown as unknown. `kb-dr doctor` tests it.",
        )
