"""`kb-dr controls ID|latest`: does the verifier see damage?"""

import click

from kb_dr.cli.opened import from_option, installation, json_option, parse_backup_id, progress
from kb_dr.cli.output import print_json, print_table
from kb_dr.domain.control import CATALOGUE, ControlOutcome, ControlRun, Damage
from kb_dr.errors import NotProven, ProofsVoid, VerificationError


@click.command("controls")
@click.argument("wanted", metavar="ID|latest", default="latest")
@from_option(None)
@click.option(
    "--only",
    "only",
    multiple=True,
    type=click.Choice([str(each) for each in Damage]),
    metavar="DAMAGE",
    help="Only this control; again for more: " + ", ".join(Damage) + ".",
)
@json_option
def command(wanted: str, copy: str | None, only: tuple[str, ...], as_json: bool) -> None:
    """Hand the verifier damaged copies of a real backup, in a repository that is thrown away.

    Exits 0 only when it saw all damage and named it. 64: it called something damaged PROVEN;
    all proofs are void then, until this command has passed and backups were proven anew. 60: it
    judged wrongly. 62: too much could not be run here. Nothing but the record is written.
    """
    opened = installation()
    backup = None if wanted == "latest" else parse_backup_id(wanted)
    damages = tuple(each for each in Damage if not only or each in only)
    run = opened.run_controls(backup, copy or opened.copy_that_counts, progress(), damages=damages)
    if as_json:
        print_json(run)
    else:
        print_controls(run)
    require_passed(run)


def print_controls(run: ControlRun) -> None:
    """A round as one table."""
    print_table(
        f"Negative controls {run.id}: damaged copies of {run.backup_id} from {run.copy}",
        ("damage", "what was damaged", "fitting", "verdict", "names it", "outcome", "reason"),
        (
            (
                each.damage,
                each.detail or CATALOGUE[each.damage].what,
                each.expected,
                each.verdict,
                "yes" if each.named else "no",
                each.outcome,
                each.reason,
            )
            for each in run.results
        ),
    )


def require_passed(run: ControlRun) -> None:
    """Raise what a round that did not pass comes to."""
    if run.blind:
        names = ", ".join(each.damage for each in run.blind)
        raise ProofsVoid(f"controls {run.id}: {names} came out PROVEN: all proofs are void")
    if run.misjudged:
        first = run.misjudged[0]
        raise VerificationError(
            f"controls {run.id}: {first.damage}: {first.verdict}: {first.reason}, expected "
            f"{first.expected} and the name of what was damaged",
            hint="The verifier misjudges such damage: its proofs say less than they seem to.",
        )
    if not run.passed:
        undone = [each for each in run.results if each.outcome is ControlOutcome.COULD_NOT_RUN]
        undone.sort(key=lambda each: not CATALOGUE[each.damage].always)
        raise NotProven(
            f"controls {run.id}: {undone[0].damage} could not run: {undone[0].reason}",
            hint="Nothing was learned of the verifier. Mend what was missing; run it again.",
        )
