"""`kb-dr validate ID|FILE`: is everything of one backup there, as recorded?"""

import os
from pathlib import Path

import click

from kb_dr.cli.opened import (
    from_option,
    installation,
    json_option,
    parse_backup_id,
    progress,
)
from kb_dr.cli.output import print_json, print_table
from kb_dr.errors import ConfigurationError, VerificationError

_ENDINGS = (".sql", ".gz", ".dump", ".dir", ".age")


@click.command("validate")
@click.argument("subject", metavar="ID|FILE")
@from_option("primary")
@click.option("--deep", is_flag=True, help="Of an id: read and hash every byte.")
@click.option(
    "--no-checksum",
    "unchecked",
    is_flag=True,
    help="Of a file: there is no .sha256 beside it; the rest decides.",
)
@json_option
@click.pass_context
def command(
    context: click.Context, subject: str, copy: str, deep: bool, unchecked: bool, as_json: bool
) -> None:
    """Look at every object and WAL file a backup needs; or at a dump in a file of its own.

    What validates may still not restore: only `kb-dr verify` shows that.
    """
    if is_file_name(subject):
        given = context.get_parameter_source("copy")
        if deep or (given is not None and given.name == "COMMANDLINE"):
            raise ConfigurationError(
                f"validate {subject}: --deep and --from belong to an id",
                hint="A file is read to its end anyhow.",
            )
        _validate_file(subject, unchecked=unchecked, as_json=as_json)
        return
    if unchecked:
        raise ConfigurationError(
            f"validate {subject}: --no-checksum belongs to a file",
            hint="Give the path of one, with a slash in it.",
        )
    found = installation().validate(parse_backup_id(subject), copy, deep=deep, progress=progress())
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


def is_file_name(text: str) -> bool:
    """Whether a path was typed: an id has no slash, no such ending, and is no file here."""
    return os.sep in text or text.endswith(_ENDINGS) or os.path.lexists(text)


def _validate_file(name: str, *, unchecked: bool, as_json: bool) -> None:
    path = Path(os.path.expanduser(name)).absolute()
    found = installation().validate_file(path, progress(), checksum=not unchecked)
    if as_json:
        print_json({"validation": found, "verdict": found.verdict, "sound": found.sound})
    else:
        print_table(
            f"{found.verdict}: {found.path}",
            ("what", "outcome", "seen", "what to do"),
            ((f.subject, f.outcome, f.seen, f.hint) for f in found.findings),
        )
    if not found.sound:
        bad = next((each for each in found.findings if not each.good), None)
        why = "nothing could be looked at" if bad is None else f"{bad.subject}: {bad.seen}"
        raise VerificationError(f"validate {found.path}: {why}")
