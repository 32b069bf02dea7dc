"""Schedules and sensors: what should have happened and did not, what fails, what was turned off."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from cronsim import CronSimError

# Not exported by Dagster: ticks, and who may be ticking.
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    ScheduleInstigatorData,
    TickStatus,
)

from kb_dr.defs.alerting.conditions import Condition
from kb_dr.defs.alerting.cron_times import due_between, last_due
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity

LATE_AFTER = timedelta(minutes=10)
"""A tick this late did not happen."""

FAILED_TICKS = 3
"""So many in a row are no accident."""
FAILED_FOR = timedelta(minutes=2)
"""Nor is one after which nothing was tried for so long."""

_TICKS_READ = 5
_DONE = (TickStatus.SUCCESS, TickStatus.SKIPPED)


@dataclass(frozen=True, slots=True)
class Automaton:
    """One schedule or sensor, as it stands in Dagster's database."""

    name: str
    cron: str
    """Empty for a sensor."""
    wanted: bool
    """Whether the code turns it on."""
    state: InstigatorState | None
    """None: the daemon has never seen it, or leaves it to the code."""
    ticks: tuple[InstigatorTick, ...]
    """The newest first."""

    @property
    def key(self) -> str:
        """What alerts call it."""
        return f"schedule/{self.name}" if self.cron else f"sensor/{self.name}"

    @property
    def turned_off(self) -> bool:
        """Whether somebody turned off what the code turns on."""
        return (
            self.wanted and self.state is not None and self.state.status is InstigatorStatus.STOPPED
        )

    @property
    def runs(self) -> bool:
        """Whether it should be ticking."""
        if self.state is None or self.state.status is InstigatorStatus.DECLARED_IN_CODE:
            return self.wanted
        return self.state.status is not InstigatorStatus.STOPPED

    @property
    def due_from(self) -> datetime | None:
        """Since when the daemon answers for its ticks; None: it has not seen it."""
        if self.state is None or not isinstance(self.state.instigator_data, ScheduleInstigatorData):
            return None
        data = self.state.instigator_data
        # The second moves on while nothing is due, so that a new cron line is no old debt.
        return _instant(max(data.start_timestamp or 0.0, data.last_iteration_timestamp or 0.0))


def automata(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, location: str | None
) -> list[Automaton]:
    """Every schedule and sensor of these definitions. ``location`` None: of whatever location."""
    states: dict[tuple[bool, str], InstigatorState] = {}
    for state in instance.all_instigator_state():
        at = state.origin.repository_origin.code_location_origin.location_name
        if location is None or at == location:
            is_schedule = state.instigator_type is InstigatorType.SCHEDULE
            states[is_schedule, state.instigator_name] = state
    found: list[Automaton] = []
    for schedule in repository.schedule_defs:
        state_of = states.get((True, schedule.name))
        on = schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        cron = schedule.cron_schedule
        line = cron if isinstance(cron, str) else " ".join(cron)
        ticks = _ticks(instance, state_of)
        found.append(Automaton(schedule.name, line, on, state_of, ticks))
    for sensor in repository.sensor_defs:
        state_of = states.get((False, sensor.name))
        on = sensor.default_status is dg.DefaultSensorStatus.RUNNING
        found.append(Automaton(sensor.name, "", on, state_of, _ticks(instance, state_of)))
    return found


def look_at_automation(
    found: Iterable[Automaton], now: datetime, up_since: datetime
) -> Iterator[Condition]:
    """Three conditions of each: off, failing and, for a schedule, missed.

    ``up_since``: what was missed before it Dagster itself makes up for now, and is told once.
    """
    for each in found:
        yield Condition(f"{each.key}/off", _off(each, now), lasting=True)
        if not each.runs:
            continue  # who turned it off knows that nothing happens; that all is well nobody does
        yield Condition(f"{each.key}/failing", _failing(each, now), lasting=True)
        if each.cron:
            yield Condition(each.key, _missed(each, now, up_since), lasting=True)


def missed_while_down(
    instance: dg.DagsterInstance, found: Iterable[Automaton], down: datetime, up: datetime
) -> Notice | None:
    """What schedules missed while nothing ran, in one notice; None when they missed nothing.

    The newest time each was due is left out: the daemon makes up for that one, and if it does not
    the schedule is missed by itself soon.
    """
    lost: list[tuple[int, str]] = []
    for each in found:
        if not each.cron or not each.runs or each.due_from is None:
            continue
        try:
            due = list(due_between(each.cron, max(down, each.due_from), up))[:-1]
        except CronSimError:
            continue
        if due and each.state is not None:
            done = {
                tick.timestamp
                for tick in instance.get_ticks(
                    each.state.instigator_origin_id,
                    each.state.selector_id,
                    after=due[0].timestamp() - 1,
                    before=up.timestamp(),
                )
            }
            missing = [at for at in due if at.timestamp() not in done]
            if missing:
                lost.append((len(missing), each.name))
    if not lost:
        return None
    said = ", ".join(f"{name} {count} times" for count, name in sorted(lost))
    return Notice(
        id=f"downtime/{down.isoformat()}",
        key="schedule/all",
        kind="schedule_missed",
        state=State.TOLD,
        severity=Severity.WARNING,
        at=up,
        seen=f"Dagster stood still from {down:%Y-%m-%d %H:%M} to {up:%H:%M} UTC; left out: {said}",
        do="The newest of each is made up for now. See what stopped the daemon or the code server.",
        subjects=tuple(sorted(name for _, name in lost)),
    )


def _off(each: Automaton, now: datetime) -> Notice | None:
    if not each.turned_off or each.state is None:
        return None
    last = each.ticks[0].timestamp if each.ticks else 0.0
    return _notice(
        each, "off", "schedule_is_off", Severity.WARNING, now, f"{each.name} was turned off", last
    )


def _missed(each: Automaton, now: datetime, up_since: datetime) -> Notice | None:
    try:
        due = last_due(each.cron, now - LATE_AFTER)
    except CronSimError as error:
        return _notice(
            each, "", "schedule_missed", Severity.WARNING, now,
            f"{each.name}: nobody can tell when {each.cron!r} is due: {error}", 0.0,
        )  # fmt: skip
    if due is None or now - up_since < LATE_AFTER or due <= (each.due_from or up_since):
        return None
    last = each.ticks[0].timestamp if each.ticks else 0.0
    if last >= due.timestamp():
        return None
    when = f"it last ran at {_instant(last):%Y-%m-%d %H:%M} UTC" if last else "it has never run"
    said = f"{each.name} was due at {due:%Y-%m-%d %H:%M} UTC and did not run; {when}"
    return _notice(each, "", "schedule_missed", Severity.CRITICAL, now, said, last)


def _failing(each: Automaton, now: datetime) -> Notice | None:
    ended = [tick for tick in each.ticks if tick.status is not TickStatus.STARTED]
    failed: list[InstigatorTick] = []
    for tick in ended:
        if tick.status in _DONE:
            break
        failed.append(tick)
    if not failed:
        return None
    newest = failed[0]
    alone = now - _instant(newest.end_timestamp or newest.timestamp) >= FAILED_FOR
    if len(failed) < FAILED_TICKS and not alone:
        return None
    error = newest.error
    while error is not None and error.cause is not None:
        error = error.cause
    said = " ".join((error.message if error else "no error was written down").split())[:600]
    since = failed[-1].timestamp
    return _notice(
        each, "failing", "automation_failed", Severity.CRITICAL, now, f"{each.name}: {said}", since
    )


def _notice(
    each: Automaton,
    what: str,
    kind: str,
    severity: Severity,
    now: datetime,
    seen: str,
    since: float,
) -> Notice:
    """``since``: what tells this time from the last time, also when it is looked at again."""
    key = f"{each.key}/{what}" if what else each.key
    return Notice(
        id=f"{key}/{since:.3f}",
        key=key,
        kind=kind,
        state=State.BROKEN,
        severity=severity,
        at=now,
        seen=seen,
        facts=((("schedule" if each.cron else "sensor"), each.name),),
    )


def _ticks(
    instance: dg.DagsterInstance, state: InstigatorState | None
) -> tuple[InstigatorTick, ...]:
    if state is None:
        return ()
    found: Sequence[InstigatorTick] = instance.get_ticks(
        state.instigator_origin_id, state.selector_id, limit=_TICKS_READ
    )
    return tuple(found)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
