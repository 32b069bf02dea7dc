"""`kb-dr init`: make the repositories ready."""

import click

from kb_dr.cli.opened import installation


@click.command("init")
def command() -> None:
    """Write the marker that says whose repository this is; again is harmless.

    A bucket must exist; a directory is made. Either must be empty.
    """
    opened = installation()
    for copy in opened.copies:
        marker = opened.initialise(copy)
        click.echo(
            f"{copy}: {opened.repository(copy).url} is the repository of service "
            f"{marker.service} of {marker.org}, since {marker.created:%Y-%m-%d %H:%M:%SZ}"
        )
        bucket = opened.bucket(copy) if opened.lock_wanted(copy) else None
        if bucket is not None:
            click.echo(f"{copy}: what is written is retained: {bucket.object_lock()}")
    if len(opened.copies) == 1:
        click.echo("offsite: none is configured (KB_DR_OFFSITE_URL); one copy is not a backup plan")
    elif "offsite" not in opened.copies:
        click.echo(
            "offsite: none is configured (KB_DR_OFFSITE_URL); one place is not a backup plan"
        )
