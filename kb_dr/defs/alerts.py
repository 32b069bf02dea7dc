"""Alerts go out: what Dagster saw is handed to the outbox, and the outbox is emptied.

Dagster's own failure sensors lose what cannot be delivered at once. This one only reads on when
what it read was taken; taken twice it is one alert, for each event has an id of its own.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, cast

import dagster as dg

from kb_dr.defs.alerting.look import Look
from kb_dr.defs.alerting.place import Broken, read_place, write_place
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.notice import Notice
from kb_dr.errors import KbDrError, OutboxUnavailable
from kb_dr.installation import Installation

INTERVAL_SECONDS = 15

READ_SECONDS = 1.2
"""After so long no more runs are read, failures first; the next tick goes on there."""

TICK_SECONDS = 38.0
"""A tick has 60 seconds in all, with what Dagster does around it."""

LEAST_SECONDS = 5.0
"""So long is delivered in any case."""


class OpenAlert(Protocol):
    """An alert, as far as it is needed here."""

    @property
    def id(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def last_seen_at(self) -> datetime: ...


class Outbox(Protocol):
    """What keeps alerts and sends them."""

    def alerts(self) -> Sequence[OpenAlert]:
        """Those open. Raises KbDrError when they cannot be read."""
        ...

    def take(self, notices: Sequence[Notice]) -> Any:
        """Take these in, once each, wherever that can be done."""
        ...

    def deliver(self, *, seconds: float) -> Any:
        """Send what is due, within so much time."""
        ...


@dg.sensor(
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people what they have to know: runs that failed, checks that are red, "
    "schedules that were missed, and when each is well again.",
)
def alerts_go_out(
    context: dg.SensorEvaluationContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.SkipReason:
    """Read on, hand in, deliver. Nothing is passed over that was not taken.

    Settings that cannot be used fail the tick: nobody can be told through them, and the page is
    red.
    """
    began = time.monotonic()
    installation = door.open()
    outbox = _outbox(installation)
    repository = context.repository_def
    if repository is None:
        return dg.SkipReason("these definitions belong to no repository")
    origin = context.code_location_origin
    look = Look(
        context.instance,
        repository,
        None if origin is None else origin.location_name,
        installation.clock.now(),
    )
    looked = look.take(
        read_place(context.cursor),
        _known_to(outbox),
        lambda: time.monotonic() - began < READ_SECONDS,
    )
    try:
        outbox.take(looked.notices)
    except KbDrError as error:
        return dg.SkipReason(f"{len(looked.notices)} notices were not taken: {error}")
    context.update_cursor(write_place(looked.place))
    # From here on nothing may be raised: the cursor of a tick that raises is dropped.
    left = max(TICK_SECONDS - (time.monotonic() - began), LEAST_SECONDS)
    try:
        delivered = f"{outbox.deliver(seconds=left)}"
    except KbDrError as error:
        delivered = f"not delivered: {error}"
    return dg.SkipReason(
        f"{len(looked.notices)} notices; {delivered}"
        + ("; more runs are read next" if looked.more else "")
        + "".join(f"; could not read {each}" for each in looked.faults)
    )


def _outbox(installation: Installation) -> Outbox:
    if not hasattr(installation, "take"):
        raise OutboxUnavailable("hand in alerts: nothing keeps them here")
    return cast(Outbox, installation)


def _known_to(outbox: Outbox) -> dict[str, Broken] | None:
    """What it holds as broken, by condition; None when it cannot be asked."""
    try:
        alerts = outbox.alerts()
    except KbDrError:
        return None
    return {alert.key: Broken(alert.id, alert.last_seen_at) for alert in alerts}
