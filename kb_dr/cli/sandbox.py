"""`kb-dr sandbox up|down|status`: a production of your own to try things on."""

from pathlib import Path

import click

from kb_dr.cli.opened import json_option
from kb_dr.cli.output import print_json, print_table, say
from kb_dr.sandbox.bring_up import DEFAULT_ENTRIES, up
from kb_dr.sandbox.describe import describe
from kb_dr.sandbox.take_down import down

dir_option = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=Path("sandbox"),
    show_default=True, help="Where the sandbox lies.",
)  # fmt: skip
entries_option = click.option(
    "--entries", type=click.IntRange(100, 5_000_000), default=DEFAULT_ENTRIES, show_default=True,
    help="Rows of a new knowledge base.",
)  # fmt: skip


@click.group("sandbox")
def command() -> None:
    """Real programs on loopback: production, Dagster's storage, two S3 regions."""


@command.command("up")
@dir_option
@entries_option
def bring_up(directory: Path, entries: int) -> None:
    """Build the sandbox, or start again what of it does not run."""
    places = up(directory, entries=entries, say=say)
    _print(directory)
    say(f"now, for example: kb-dr --env-file {places.env_file} backup full --copy")


@command.command("down")
@dir_option
@click.option("--purge", is_flag=True, help="Remove its files as well.")
def take_down(directory: Path, purge: bool) -> None:
    """End every process of the sandbox."""
    ended = down(directory, purge=purge)
    say(f"ended: {', '.join(ended) or 'nothing ran'}" + ("; its files are gone" if purge else ""))


@command.command("status")
@dir_option
@json_option
def status(directory: Path, as_json: bool) -> None:
    """What of it runs, and where."""
    if as_json:
        print_json(describe(directory))
    else:
        _print(directory)


def _print(directory: Path) -> None:
    print_table(
        f"Sandbox in {directory}",
        ("part", "state", "address", "pid", "log"),
        ((part.name, part.state, part.address, part.pid, part.log) for part in describe(directory)),
    )
