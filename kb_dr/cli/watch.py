"""`kb-dr watch`: every check that watches, as it is now."""

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import print_json, print_table
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr.errors import ObjectiveBroken

_GOOD = (Outcome.PASSED, Outcome.NOT_APPLICABLE)


@click.command("watch")
@click.argument(
    "names", nargs=-1, metavar="[NAME]...", type=click.Choice((*MINUTE_CHECKS, *HOURLY_CHECKS))
)
@json_option
def command(names: tuple[str, ...], as_json: bool) -> None:
    """The checks that Dagster looks at each minute, or those of these names, as they are now.

    Exits 0 only when every one is good; what could not be told is not.
    """
    seen = installation().watch(names or None)
    if as_json:
        print_json(seen)
    else:
        print_table(
            "Watched",
            ("check", "of", "outcome", "seen", "what to do"),
            (_row(each, part) for each in seen for part in each.parts),
        )
    bad = [each for each in seen if each.outcome not in _GOOD]
    if bad or not seen:
        raise ObjectiveBroken(
            f"watch: {len(bad)} of {len(seen)} checks are not good: "
            + ", ".join(f"{each.name} ({each.severity}, {each.outcome})" for each in bad),
            hint="The table above says what was seen; docs/monitoring.md says more of each.",
        )


def _row(watched: Watched, part: Finding) -> tuple[object, ...]:
    outcome = str(part.outcome)
    if not part.good:
        outcome = f"{outcome} ({watched.severity})"
    return watched.name, part.subject, outcome, part.seen, part.hint
