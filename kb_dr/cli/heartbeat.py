"""`kb-dr heartbeat run|install|remove`: commits that are known to flow."""

import click

from kb_dr.cli.opened import installation
from kb_dr.cli.output import say
from kb_dr.operations.beat import beat


@click.group("heartbeat")
def command() -> None:
    """Beat in the source, so that RPO is a measurement and not a guess.

    A table of one row, kb_dr.heartbeat, is updated every few seconds. Set KB_DR_HEARTBEAT=on
    where `kb-dr heartbeat run` is kept running.
    """


@command.command("install")
def install() -> None:
    """Make the table kb_dr.heartbeat; changes nothing where it is."""
    made = installation().heartbeat.install()
    say("made table kb_dr.heartbeat" if made else "table kb_dr.heartbeat was there already")
    say("next: keep `kb-dr heartbeat run` running, and set KB_DR_HEARTBEAT=on")


@command.command("remove")
def remove() -> None:
    """Drop the table kb_dr.heartbeat. Set KB_DR_HEARTBEAT=off first."""
    gone = installation().heartbeat.remove()
    say("dropped table kb_dr.heartbeat" if gone else "there was no table kb_dr.heartbeat")


@command.command("run")
@click.option(
    "--every", type=click.FloatRange(min=0.5, max=3600), default=5.0, show_default=True,
    metavar="SECONDS", help="One beat every so often.",
)  # fmt: skip
def run(every: float) -> None:
    """Beat until Ctrl-C or SIGTERM, through restarts of the server. Exits 130 then."""
    opened = installation()
    beat(opened.heartbeat, opened.clock, every_seconds=every)
