"""`kb-dr retention lifecycle` and `kb-dr retention hidden`: what a bucket does by itself."""

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import print_json, print_table, say
from kb_dr.domain.lifecycle import needed_days, too_short
from kb_dr.errors import ConfigurationError, LifecycleTooShort, VerificationError
from kb_dr.settings import COPY_NAMES

_HOLDS = (
    "A bucket's rules know nothing of holds, proofs or chains: a held backup goes by them, too."
)

copy_option = click.option(
    "--copy", type=click.Choice(COPY_NAMES), default="primary", show_default=True
)
yes_option = click.option("--yes", is_flag=True, help="Do it; without it nothing changes.")


@click.command("lifecycle")
@copy_option
@click.option("--apply", "to_apply", is_flag=True, help="Put the rules into the bucket.")
@yes_option
@json_option
def lifecycle(copy: str, to_apply: bool, yes: bool, as_json: bool) -> None:
    """The second line: rules by which the bucket itself removes what is long past the policy.

    Shows what the policy asks for beside what stands in the bucket. Exits with an error while a
    rule there is shorter than the policy.
    """
    opened = installation()
    plan = opened.plan_lifecycle(copy)
    if plan is not None and to_apply and yes:
        plan = opened.apply_lifecycle(copy)
    if plan is None:
        if to_apply:
            raise ConfigurationError(
                f"set lifecycle rules of {copy}: there are none in this kind of store",
                hint="`kb-dr retention apply` does without.",
            )
        print_json(None) if as_json else say(f"{copy}: this store has no lifecycle rules")
        return
    if as_json:
        print_json(plan)
    else:
        stands = {rule.id for rule in plan.standing if rule.made_here}
        rows = [
            (
                rule.id,
                rule.prefix or "(all)",
                rule,
                "stands" if rule not in plan.changed
                else "stands otherwise" if rule.id in stands
                else "missing",
            )
            for rule in plan.wanted
        ]  # fmt: skip
        rows += [(each.id, each.prefix or "(all)", each, "somebody else's") for each in plan.others]
        needed = needed_days(opened.settings.retention[copy])
        print_table(
            f"Lifecycle rules of {copy}; the policy needs {needed} days",
            ("rule", "below", "does", "in the bucket"),
            rows,
            caption=_HOLDS,
        )
        if plan.changed and not to_apply:
            say("kb-dr retention lifecycle --apply --yes puts these into the bucket")
    if plan.problems:
        by_others = too_short(plan.others, opened.settings.retention[copy])
        raise LifecycleTooShort(
            f"lifecycle of {copy}: {'; '.join(plan.problems)}",
            hint="" if by_others else "`kb-dr retention lifecycle --apply --yes` lengthens them.",
        )
    if to_apply and not yes:
        raise ConfigurationError(
            f"set lifecycle rules of {copy}: not confirmed",
            hint="Look at the rules above; then the same with --yes.",
        )


@click.command("hidden")
@copy_option
@click.option("--prefix", default="", help="Only below this; wal/ alone may be long.")
@click.option("--bring-back", is_flag=True, help="Remove the delete markers that hide them.")
@yes_option
@json_option
def hidden(copy: str, prefix: str, bring_back: bool, yes: bool, as_json: bool) -> None:
    """Objects a delete marker hides: their bytes are there, and every read says missing.

    kb-dr hides nothing: somebody's plain delete did, or a rule of the bucket. Exits with an error
    while something is hidden.
    """
    opened = installation()
    opened.repository(copy).check()  # no more: what is hidden may be the marker of the repository
    found = list(opened.hidden(copy, (prefix,)))
    if bring_back and yes:
        for each in found:
            opened.bring_back(copy, each.key)
    if as_json:
        print_json(found)
    else:
        print_table(
            f"Hidden in {copy}" + (": brought back" if bring_back and yes else ""),
            ("object", "hidden"),
            ((each.key, each.hidden_at) for each in found),
        )
    if found and not (bring_back and yes):
        raise VerificationError(
            f"look for hidden objects in {copy}: {len(found)}",
            hint="Find out who deleted them; --bring-back --yes makes them readable again.",
        )
