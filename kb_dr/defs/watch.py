"""The watch: checks that go by the clock, on assets that no run makes.

All checks of a minute are one step of one run: looking at everything costs one look, and one
process.
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from kb_dr.defs.check_results import check_result
from kb_dr.defs.evaluations import newest_of
from kb_dr.defs.failures import reported_failures
from kb_dr.defs.heartbeat import signs_of_life
from kb_dr.defs.integrity import what_is_kept_is_whole
from kb_dr.defs.postgres.checks import copies_have_room
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.postgres.schedules import unless_under_way
from kb_dr.defs.recovery.checks import verifier_sees_damage
from kb_dr.defs.recovery.drill import a_passed_drill_is_recent
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.alert_kinds import CHECKS
from kb_dr.domain.proof import Outcome
from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS

POINT = dg.AssetKey(["recovery", "point"])
COPIES = dg.AssetKey(["repository", "copies"])

point = dg.AssetSpec(
    POINT,
    group_name="recovery",
    description="What could be recovered now, and what would be lost. No run makes it: its checks "
    "read the repositories and the server, by the clock.",
)
copies = dg.AssetSpec(
    COPIES,
    group_name="repository",
    description="The places backups lie in. No run makes it: its checks look at each of them, by "
    "the clock.",
)


def _specs(checks: Mapping[str, tuple[str, ...]]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name,
            asset=dg.AssetKey(list(asset)),
            description=f"Red: {CHECKS[name].broken}. {CHECKS[name].means} "
            f"First: {CHECKS[name].first_move}",
        )
        for name, asset in checks.items()
    ]


@dg.multi_asset_check(name="watch", specs=_specs(MINUTE_CHECKS), can_subset=True)
def watch(
    context: dg.AssetCheckExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> Iterator[dg.AssetCheckResult]:
    """Is what must be true now true: of the source, its WAL, and each copy."""
    yield from _watched(context, door)


@dg.multi_asset_check(name="hourly_watch", specs=_specs(HOURLY_CHECKS), can_subset=True)
def hourly_watch(
    context: dg.AssetCheckExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> Iterator[dg.AssetCheckResult]:
    """The same of what takes more reading."""
    yield from _watched(context, door)


def _watched(
    context: dg.AssetCheckExecutionContext, door: InstallationDoor
) -> Iterator[dg.AssetCheckResult]:
    """One look for all that are asked for. One it does not answer fails the run."""
    with reported_failures(), signs_of_life(context.log.info):
        installation = door.open()
        wanted = {check.name: check for check in context.selected_asset_check_keys}
        seen = {each.name: each for each in installation.watch(tuple(wanted))}
    at, grace = installation.clock.now(), installation.settings.alerting.grace_seconds
    for name in sorted(seen.keys() & wanted.keys()):
        check, watched = wanted[name], seen[name]
        unsure = watched.outcome is Outcome.COULD_NOT_RUN
        yield check_result(
            check,
            watched,
            at=at,
            before=newest_of(context.instance, check) if unsure else None,
            grace_seconds=grace,
        )
    if silent := sorted(wanted.keys() - seen.keys()):
        raise dg.Failure(f"the watch said nothing of {', '.join(silent)}", allow_retries=False)


watch_job = dg.define_asset_job(
    "watch_job",
    selection=dg.AssetSelection.checks(watch),
    executor_def=dg.in_process_executor,
    tags=ends_after(HOUR),
    description="Look at the source, its WAL and each copy, once.",
)

hourly_watch_job = dg.define_asset_job(
    "hourly_watch_job",
    # Each is a step of its own: one that fails keeps none of the others from speaking.
    selection=dg.AssetSelection.checks(
        hourly_watch,
        copies_have_room,
        verifier_sees_damage,
        what_is_kept_is_whole,
        a_passed_drill_is_recent,
    ),
    executor_def=dg.in_process_executor,
    tags=ends_after(HOUR),
    description="Look at what takes more reading, and read what reports, controls and drills of "
    "late have shown, and how old that is.",
)


def make_watch_schedules() -> Sequence[dg.ScheduleDefinition]:
    """The watch of each minute, and that of each hour."""
    return [
        unless_under_way(
            watch_job.name,
            "* * * * *",
            "watch_every_minute",
            "Whatever goes wrong is on the page, and on its way to people, within two minutes.",
        ),
        # A check whose own asset could not be made is skipped in that run, and would stay green.
        unless_under_way(
            hourly_watch_job.name,
            "50 * * * *",
            "watch_every_hour",
            "Room, keys, coverage, the newest report, controls and drills, by the hour.",
        ),
    ]
