"""`kb-dr report readiness`: could we recover now, on one page."""

from pathlib import Path

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import moment, print_json, print_table, say
from kb_dr.domain.readiness import Answer, Readiness
from kb_dr.domain.readiness_markdown import COPY_COLUMNS, copy_rows, measure_row, shown_rows
from kb_dr.errors import ObjectiveBroken


@click.command("readiness")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
    help="Draw RTO, RPO, size, duration and coverage of the last 90 days into FILE.",
)  # fmt: skip
@json_option
def command(plot: Path | None, as_json: bool) -> None:
    """Could we recover now, within what was promised: yes, no, or nobody can tell.

    Reads and changes nothing. Exits 0 only when the answer is yes.
    """
    opened = installation()
    seen = opened.readiness()
    if plot is not None:
        plot.write_bytes(opened.draw_readiness(seen))
    if as_json:
        print_json(seen)
    else:
        _print(seen)
    if seen.answer is not Answer.YES:
        lacking = len(seen.lacking)
        raise ObjectiveBroken(
            f"report readiness: {seen.answer}, {lacking} of {len(seen.findings)} things looked at "
            "are not good",
            hint=next(iter(seen.next_steps), "`kb-dr status` shows what each copy allows."),
        )


def _print(seen: Readiness) -> None:
    say(seen.verdict)
    print_table(
        f"Promised and measured, {moment(seen.at)}",
        ("what", "allowed", "measured", "holds", "of"),
        (_plain(measure_row(each)) for each in seen.measures),
    )
    if seen.lacking:
        print_table(
            "What does not hold",
            ("what", "outcome", "seen", "what to do"),
            ((each.subject, each.outcome, each.seen, each.hint) for each in seen.lacking),
        )
    print_table("Copies", COPY_COLUMNS, copy_rows(seen))
    print_table(
        "What was shown to work",
        ("what", "when", "result"),
        (_plain(row) for row in shown_rows(seen)),
    )
    if seen.alerts is None:
        say(f"open alerts: not known: {seen.alerts_problem}")
    else:
        print_table(
            "Open alerts",
            ("severity", "what", "since", "acknowledged"),
            (
                (each.severity, each.title, each.opened_at, "yes" if each.acknowledged else "no")
                for each in seen.alerts
            ),
        )
    for number, step in enumerate(seen.next_steps, 1):
        say(f"next, {number}: {step}")


def _plain(row: tuple[object, ...]) -> tuple[object, ...]:
    """Without the stars of a page."""
    return tuple(each.replace("**", "") if isinstance(each, str) else each for each in row)
