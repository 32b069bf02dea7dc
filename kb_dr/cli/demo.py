"""`kb-dr demo`: the whole story in one command."""

from pathlib import Path

import click

from kb_dr.cli.output import print_table, say, size
from kb_dr.cli.sandbox import dir_option, entries_option
from kb_dr.errors import VerificationError
from kb_dr.sandbox.story import Ending, tell


@click.command("demo")
@dir_option
@entries_option
def command(directory: Path, entries: int) -> None:
    """Backup under load, offsite copy, disaster, restore from the other region, proof.

    Everything happens in the sandbox's directory, on loopback. Exits 0 only when the proof says
    PROVEN and every row archived before the disaster came back.
    """
    try:
        ending = tell(directory, entries=entries, say=say)
    except KeyboardInterrupt:
        say(f"the sandbox's servers still run: `kb-dr sandbox down --dir {directory}` ends them")
        raise
    _print(ending)
    if not ending.good:
        raise VerificationError(
            f"demo: {ending.proof.verdict}, {ending.missing_archived} archived rows missing: "
            f"{ending.proof.reason}"
        )


def _print(ending: Ending) -> None:
    proof = ending.proof
    print_table(
        "Phases of the restore and of the proof",
        ("phase", "restore, seconds", "proof, seconds", "bytes"),
        _phases(ending),
    )
    print_table(
        f"{proof.verdict}: {ending.backup_id}, read from {proof.copy}",
        ("", ""),
        (
            ("rows confirmed by production", ending.confirmed),
            ("of them in the other region before the disaster", ending.archived),
            ("of those, missing after the restore", ending.missing_archived),
            ("rows back", ending.survived),
            (
                "lost",
                f"{ending.confirmed - ending.survived} rows, the last {ending.lost_seconds:.1f} s: "
                "written after the newest archived segment",
            ),
            ("restore took", f"{ending.restore_seconds:.1f} s, to {ending.reached}"),
            ("proof", f"{proof.verdict}: {proof.reason}"),
            ("archives again", ending.archives_again),
            ("catalog", ending.catalogued),
            ("next", "make ui"),
        ),
    )


def _phases(ending: Ending) -> list[tuple[str, str, str, str]]:
    ours = {phase.name: phase for phase in ending.phases}
    theirs = {phase.name: phase for phase in ending.proof.phases}
    names = [*theirs, *(name for name in ours if name not in theirs)]
    return [
        (
            name,
            f"{ours[name].seconds:.2f}" if name in ours else "-",
            f"{theirs[name].seconds:.2f}" if name in theirs else "-",
            size((theirs.get(name) or ours[name]).size_bytes),
        )
        for name in names
    ]
