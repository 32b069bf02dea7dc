"""`kb-dr cloudwatch apply|put`: what stands in Amazon CloudWatch, and what is put in."""

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import print_json, print_table, say
from kb_dr.domain.cloudwatch_alarms import Does
from kb_dr.errors import AlertError


@click.group("cloudwatch")
def command() -> None:
    """Alarms, a dashboard, log groups and metrics in Amazon CloudWatch."""


@command.command("apply")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
def apply(dry_run: bool, as_json: bool) -> None:
    """Make alarms, dashboard and log groups what they should be.

    May be run again at any time: what stands as it should is left alone, what was changed by hand
    is set back, and nothing is ever deleted.
    """
    opened = installation()
    plan = opened.plan_cloudwatch() if dry_run else opened.apply_cloudwatch()
    if as_json:
        print_json({"plan": plan, "changed": bool(plan.to_do) and not dry_run})
    else:
        print_table(
            f"CloudWatch in {plan.region}",
            ("", "name", "", "seen"),
            ((each.what, each.name, each.does, "; ".join(each.differs)) for each in plan.changes),
        )
        if plan.topic_arn is None:
            say("no KB_DR_SNS_TOPIC_ARN: the alarms turn red and tell nobody")
        if not plan.to_do:
            say("nothing to change")
        elif dry_run:
            say("dry run: nothing was changed")
        else:
            made = sum(each.does is Does.CREATE for each in plan.to_do)
            say(f"{made} made, {len(plan.to_do) - made} changed")
    if plan.not_ours:
        raise AlertError(
            f"set {plan.not_ours[0].what} {plan.not_ours[0].name}: somebody else's has this name",
            hint="Give it another name; kb-dr changes and deletes nothing it has not made.",
        )


@command.command("put")
@json_option
def put(as_json: bool) -> None:
    """Put the four metrics, as the primary repository shows them now; for cron, each minute.

    What ended within the last three hours is put again each time, and counted once.
    """
    points = installation().put_in_cloudwatch()
    if as_json:
        print_json(points)
        return
    print_table(
        "Put into CloudWatch",
        ("metric", "kind", "at", "value"),
        ((each.metric, each.kind, each.at, f"{each.value:g}") for each in points),
    )
