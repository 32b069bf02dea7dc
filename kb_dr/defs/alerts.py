"""Alerts go out: what Dagster saw is handed to the outbox, and the outbox is emptied.

Dagster's own failure sensors lose what cannot be delivered at once. This one only reads on when
what it read was taken; taken twice it is one alert, for each event has an id of its own.
"""

import time
from dataclasses import replace

import dagster as dg

from kb_dr.defs.alerting.look import Look
from kb_dr.defs.alerting.place import Broken, Place, read_place, write_place
from kb_dr.defs.alerting.told_watch import newest_whole_watch
from kb_dr.defs.resources import InstallationDoor
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation
from kb_dr.operations.deliver_alerts import Delivered

INTERVAL_SECONDS = 15

READ_SECONDS = 1.2
"""After so long no more runs are read, failures first; the next tick goes on there."""

TICK_SECONDS = 38.0
"""A tick has 60 seconds in all, with what Dagster does around it."""

LEAST_SECONDS = 5.0
"""So long is delivered in any case."""

NOTE_UNTIL_SECONDS = 30.0
"""A dead man's switch is told within the same tick, and may not answer: later it is left out."""


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
    before = read_place(context.cursor)
    looked = look.take(
        before,
        _known_to(installation),
        lambda: time.monotonic() - began < READ_SECONDS,
    )
    try:
        installation.take(looked.notices)
    except KbDrError as error:
        return dg.SkipReason(f"{len(looked.notices)} notices were not taken: {error}")
    place = replace(looked.place, watched_at=None if before is None else before.watched_at)
    context.update_cursor(write_place(place))
    # From here on nothing may be raised: the cursor of a tick that raises is dropped.
    left = max(TICK_SECONDS - (time.monotonic() - began), LEAST_SECONDS)
    try:
        done = installation.deliver(seconds=left)
    except KbDrError as error:
        delivered = f"not delivered: {error}"
    else:
        delivered = f"{done}"
        if _reaches_somebody(installation, done) and time.monotonic() - began < NOTE_UNTIL_SECONDS:
            place = _note_watch(context.instance, installation, place)
            context.update_cursor(write_place(place))
    return dg.SkipReason(
        f"{len(looked.notices)} notices; {delivered}"
        + ("; more runs are read next" if looked.more else "")
        + "".join(f"; could not read {each}" for each in looked.faults)
    )


def _note_watch(instance: dg.DagsterInstance, installation: Installation, place: Place) -> Place:
    """Tell of the newest watch outside of Dagster, once."""
    at = newest_whole_watch(instance, place.watched_at)
    if at is None:
        return place
    installation.note_watch(at)
    installation.note_in_cloudwatch()
    return replace(place, watched_at=at)


def _reaches_somebody(installation: Installation, done: Delivered) -> bool:
    """Whether a watch is worth anything to anybody: not while every channel fails."""
    channels = {channel.name for channel in installation.channels}
    return not channels or not channels <= set(done.failing)


def _known_to(installation: Installation) -> dict[str, Broken] | None:
    """What it holds as broken, by condition; None when it cannot be asked."""
    try:
        alerts = installation.alerts()
    except KbDrError:
        return None
    return {alert.key: Broken(alert.id, alert.last_seen_at) for alert in alerts}
