"""An installation that is told things, and runs to be told of: for what Dagster sends out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg

# What the daemon writes, and Dagster does not export.
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster_shared.error import SerializableErrorInfo

from kb_dr.defs.alerts import alerts_go_out
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.watched import Watched
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation
from kb_dr.operations.deliver_alerts import Delivered


class RealClock:
    """The present, as far ahead as a test says: Dagster writes its own times."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return self.now().timestamp()


@dataclass
class Listening:
    """Takes notices as the outbox does: each id once; one open alert for each condition."""

    clock: RealClock = field(default_factory=RealClock)
    watched: tuple[Watched, ...] = ()
    """What the next watch() sees."""
    grace_seconds: float = 900.0
    taken: list[Notice] = field(default_factory=list)
    """Each notice once."""
    handed_in: list[Notice] = field(default_factory=list)
    """Each as often as it was handed in."""
    open: dict[str, Notice] = field(default_factory=dict)
    refusal: KbDrError | None = None
    """Raised by take()."""
    silent: bool = False
    """Whether it cannot say what is open."""
    delivered: list[float] = field(default_factory=list)
    channels: tuple[Any, ...] = ()
    failing: tuple[str, ...] = ()
    """Channels that take nothing."""
    noted: list[datetime] = field(default_factory=list)
    """Watches noted as complete."""

    @property
    def settings(self) -> Any:
        return SimpleNamespace(alerting=SimpleNamespace(grace_seconds=self.grace_seconds))

    def watch(self, names: Sequence[str] | None = None) -> tuple[Watched, ...]:
        return tuple(each for each in self.watched if names is None or each.name in names)

    def take(self, notices: Sequence[Notice]) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.handed_in += notices
        for notice in notices:
            if any(notice.id == each.id for each in self.taken):
                continue
            self.taken.append(notice)
            if notice.state is State.BROKEN:
                self.open[notice.key] = notice
            elif notice.state is State.MENDED:
                self.open.pop(notice.key, None)
        return f"{len(notices)} taken"

    def deliver(self, *, seconds: float) -> Delivered:
        self.delivered.append(seconds)
        return Delivered(failing=self.failing)

    def note_watch(self, at: datetime) -> None:
        self.noted.append(at)

    def note_in_cloudwatch(self) -> None:
        """Nothing is put anywhere."""

    def alerts(self) -> tuple[Any, ...]:
        if self.silent:
            raise KbDrError("the outbox is away")
        return tuple(
            SimpleNamespace(id=f"alert-{each.id}", key=key, last_seen_at=each.at)
            for key, each in self.open.items()
        )

    def door(self) -> InstallationDoor:
        return InstallationDoor(lambda: cast(Installation, self))

    def fresh(self) -> list[tuple[str, str]]:
        """Key and state of what was taken since the last time this was asked."""
        found = [(each.key, str(each.state)) for each in self.taken]
        self._asked, before = len(found), getattr(self, "_asked", 0)
        return found[before:]


class Alerts:
    """The sensor over some definitions, tick after tick."""

    def __init__(
        self, instance: dg.DagsterInstance, definitions: dg.Definitions, listening: Listening
    ) -> None:
        self.instance, self.definitions, self.listening = instance, definitions, listening
        self.cursor: str | None = None
        self.said = ""
        """What the last tick answered."""

    def tick(self, *, killed: bool = False) -> str:
        """One tick; ``killed``: after what it read was taken, and before that was written down."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=self.definitions,
            resources={"door": self.listening.door()},
        )
        said = alerts_go_out(context)
        assert isinstance(said, dg.SkipReason)
        if not killed:
            self.cursor = context.cursor
        self.said = said.skip_message or ""
        return self.said

    def run(self, job: str, *, tags: dict[str, str] | None = None) -> str:
        """One run of a job of the definitions, whatever comes of it."""
        done = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, raise_on_error=False, tags=tags
        )
        return done.run_id


LOCATION = "kb_dr"


def instigator(
    instance: dg.DagsterInstance,
    name: str,
    cron: str | None,
    *,
    since: datetime,
    status: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
) -> InstigatorState:
    """What the daemon writes of a schedule, or (without a cron line) of a sensor."""
    origin = RemoteInstigatorOrigin(
        repository_origin=RemoteRepositoryOrigin(
            code_location_origin=RegisteredCodeLocationOrigin(LOCATION),
            repository_name="__repository__",
        ),
        instigator_name=name,
    )
    data: Any
    if cron is None:
        kind, data = InstigatorType.SENSOR, SensorInstigatorData(min_interval=15)
    else:
        kind, data = InstigatorType.SCHEDULE, ScheduleInstigatorData(cron, since.timestamp())
    state = InstigatorState(origin, kind, status, data)
    if instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
        instance.update_instigator_state(state)
    else:
        instance.add_instigator_state(state)
    return state


def tick_of(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    at: datetime,
    *,
    status: TickStatus = TickStatus.SUCCESS,
    error: str = "",
) -> None:
    """One tick of it, as the daemon writes it down."""
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=state.instigator_name,
            instigator_type=state.instigator_type,
            status=status,
            timestamp=at.timestamp(),
            end_timestamp=at.timestamp(),
            selector_id=state.selector_id,
            run_ids=[],
            error=SerializableErrorInfo(error, [], "Error") if error else None,
        )
    )
