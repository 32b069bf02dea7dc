"""`kb-dr validate ID`: is everything of one backup there, as recorded?"""

import click

from kb_dr.cli.opened import (
    from_option,
    installation,
    json_option,
    parse_backup_id,
    progress,
)
from kb_dr.cli.output import print_json, print_table
from kb_dr.errors import VerificationError


@click.command("validate")
@click.argument("backup_id", metavar="ID")
@from_option("primary")
@click.option("--deep", is_flag=True, help="Read and hash every byte.")
@json_option
def command(backup_id: str, copy: str, deep: bool, as_json: bool) -> None:
    """Look at every object and WAL file a backup needs.

    What validates may still not restore: only `kb-dr verify` shows that.
    """
    found = installation().validate(
        parse_backup_id(backup_id), copy, deep=deep, progress=progress()
    )
    if as_json:
        print_json({"validation": found, "sound": found.sound})
    else:
        print_table(
            f"{found.backup_id} in {found.copy}: {'sound' if found.sound else 'NOT SOUND'}",
            ("what", "outcome", "seen", "what to do"),
            ((f.subject, f.outcome, f.seen, f.hint) for f in found.findings),
        )
    if not found.sound:
        raise VerificationError(f"validate {found.backup_id} in {found.copy}: not sound")
