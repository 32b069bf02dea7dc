"""`kb-dr drill`: the whole way back, walked and timed."""

import click

from kb_dr.cli.opened import from_option, installation, json_option, progress
from kb_dr.cli.output import moment, print_json, print_table, size
from kb_dr.domain.drill import Drill
from kb_dr.domain.proof import Verdict
from kb_dr.errors import NotProven, ObjectiveBroken, ProofFailed
from kb_dr.operations.drill import drawn


@click.command("drill")
@from_option(None)
@click.option("--seed", type=click.IntRange(min=0), help="Draw the same time again.")
@click.option("--latest", is_flag=True, help="To the end of the archive instead of a drawn time.")
@json_option
def command(copy: str | None, seed: int | None, latest: bool, as_json: bool) -> None:
    """Recover from nothing but the bucket, the keys and the settings, to a random time; look; time.

    Reads the copy whose last drill is the longest ago. Nothing but records is written. Exits 0 only
    when the restore is PROVEN and RTO, RPO and every secret hold; 61, 62 or 63 otherwise.
    """
    drill = installation().drill(copy, progress(), seed=seed, to_the_end=latest)
    if as_json:
        print_json({"drill": drill, "passed": drill.passed, "shortfalls": drill.shortfalls,
                    "rto_seconds": drill.rto_seconds})  # fmt: skip
    else:
        _print(drill)
    if drill.passed:
        return
    hint = f"The report is drills/{drill.id}.md in each repository."
    kind = {Verdict.FAILED: ProofFailed, Verdict.NOT_PROVEN: NotProven}.get(
        drill.verdict, ObjectiveBroken
    )
    raise kind(f"drill from {drill.copy}: {'; '.join(drill.shortfalls)}", hint=hint)


def _print(drill: Drill) -> None:
    reach = drill.reach
    print_table(
        f"Drill {drill.id}: {'PASSED' if drill.passed else 'NOT PASSED'}",
        ("", ""),
        (
            *(("shortfall", each) for each in drill.shortfalls),
            ("read from", f"{drill.copy} ({drill.url})"),
            ("catalog rebuilt", f"{drill.backups_found} backups"),
            ("asked for", drawn(drill)),
            ("restored", drill.backup_id),
            ("reached", f"{reach.reached_lsn} on timeline {reach.reached_timeline}, expected "
             f"{reach.expected_lsn} on timeline {reach.expected_timeline}" if reach else "nothing"),
            ("newest commit there", moment(reach.newest_commit) if reach else "-"),
            ("verdict", f"{drill.verdict}: {drill.reason}"),
            ("RTO", f"{drill.rto_seconds:.1f} s, allowed {drill.rto_objective_seconds:.0f} s"),
            ("RPO", "not known" if drill.rpo_seconds is None else
             f"{drill.rpo_seconds:.1f} s, allowed {drill.rpo_objective_seconds:.0f} s"),
            ("evidence", f"drills/{drill.id}.json and .md, proof {drill.proof_id or 'none'}"),
        ),
    )  # fmt: skip
    print_table(
        "RTO by phase",
        ("phase", "seconds", "bytes"),
        ((each.name, f"{each.seconds:.2f}", size(each.size_bytes)) for each in drill.phases),
    )
    print_table(
        "Checks",
        ("check", "outcome", "seen"),
        ((each.name, each.outcome, each.seen) for each in drill.checks),
    )
    print_table(
        "Secrets and programs",
        ("what", "outcome", "seen", "what to do"),
        ((each.subject, each.outcome, each.seen, each.hint) for each in drill.checklist),
    )
