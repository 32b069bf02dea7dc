"""`kb-dr release ID`: the end of a backup's holds."""

import click

from kb_dr.cli.opened import installation, json_option, parse_backup_id
from kb_dr.cli.output import print_json, say


@click.command("release")
@click.argument("backup_id", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for whoever reads it later.")
@json_option
def command(backup_id: str, reason: str, as_json: bool) -> None:
    """End the holds of a backup; one that is not held is left as it is.

    Nothing goes by this: what the policy keeps is kept, the rest is for the next retention.
    """
    held = installation().release(parse_backup_id(backup_id), reason)
    if as_json:
        print_json(held)
    elif held.event is None:
        say(f"not held: {held.backup_id}; nothing was changed")
    else:
        count = len(held.event.releases)
        say(f"released: {held.backup_id}, {count} hold{'s' if count != 1 else ''} ended")
