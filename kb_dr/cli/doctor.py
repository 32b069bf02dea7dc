"""`kb-dr doctor`: every setting and dependency, tested."""

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import print_json, print_table
from kb_dr.domain.finding import all_good
from kb_dr.errors import VerificationError


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Test what backups, copies, restores and proofs need here. Changes nothing."""
    findings = installation().diagnose()
    if as_json:
        print_json(findings)
    else:
        print_table(
            "What was looked at",
            ("what", "outcome", "seen", "what to do"),
            ((each.subject, each.outcome, each.seen, each.hint) for each in findings),
        )
    if not all_good(findings):
        bad = ", ".join(each.subject for each in findings if not each.good)
        raise VerificationError(f"doctor: not in order: {bad}")
