"""`kb-dr retention`: what is kept."""

import click

from kb_dr.cli.lifecycle import hidden, lifecycle


@click.group("retention")
def command() -> None:
    """What is kept, and what a bucket removes by itself."""


command.add_command(lifecycle)
command.add_command(hidden)
