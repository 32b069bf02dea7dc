"""`kb-dr hold ID`: a backup that retention leaves alone."""

import click

from kb_dr.cli.opened import installation, json_option, parse_backup_id
from kb_dr.cli.output import print_json, say


@click.command("hold")
@click.argument("backup_id", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for whoever reads it later.")
@json_option
def command(backup_id: str, reason: str, as_json: bool) -> None:
    """Keep retention from a backup, in every copy, until `kb-dr release`.

    What it cannot be restored without is kept as well.
    """
    held = installation().hold(parse_backup_id(backup_id), reason)
    if as_json:
        print_json(held)
        return
    say(f"held: {held.backup_id} in {', '.join(held.copies) or 'no copy'}")
    for copy in held.expired:
        say(
            f"It has expired in {copy} already. Its objects stay there as long as it is held; "
            f"`kb-dr retention undelete {held.backup_id} --copy {copy}` brings it back."
        )
