"""What is told, and to whom: the catalog, alerts, pings and metrics."""

from typing import TYPE_CHECKING

from kb_dr.settings import Settings
from kb_dr.wiring.machine import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kb_dr.ports import (
        AlertRecords,
        Catalog,
        Channel,
        Clock,
        CloudWatch,
        Outbox,
        Pinger,
        Repository,
        WatchMark,
    )


def catalog(settings: Settings) -> "Catalog | None":
    """The catalog database; None when none is configured."""
    if settings.catalog is None:
        return None
    from kb_dr.adapters.postgres_catalog import PostgresCatalog

    return PostgresCatalog(settings.catalog, service=settings.service, org=settings.org)


def outbox(settings: Settings) -> "Outbox | None":
    """The database of the alerts; None when none is configured."""
    if settings.catalog is None:
        return None
    from kb_dr.adapters.postgres_outbox import PostgresOutbox

    return PostgresOutbox(settings.catalog, service=settings.service, org=settings.org)


def alert_records(
    settings: Settings, clock: "Clock", places: "Callable[[], Sequence[Repository]]"
) -> "AlertRecords":
    """Where alerts are recorded while no database keeps them."""
    from kb_dr.adapters.records_outbox import RecordsOutbox

    return RecordsOutbox(settings.state_dir / "alerts", places, clock)


def channels(settings: Settings) -> "tuple[Channel, ...]":
    """The alert channels configured, in the order of CHANNEL_NAMES."""
    from kb_dr.adapters.channels.build import build_channel

    return tuple(build_channel(each, clock()) for each in settings.alerting.channels.values())


def cloudwatch(settings: Settings, *, patient: bool) -> "CloudWatch":
    """Amazon CloudWatch. Not ``patient``: one try of each call, and not for long."""
    from kb_dr.adapters.cloudwatch import AwsCloudWatch

    return AwsCloudWatch(settings.cloudwatch, patient=patient)


def pinger(settings: Settings, work: str) -> "Pinger | None":
    """Who is told of work of that name; None when nobody is."""
    url = settings.pings.get(work)
    if url is None:
        return None
    from kb_dr.adapters.ping import HttpPinger

    return HttpPinger(url, work)


def watch_mark(settings: Settings) -> "WatchMark | None":
    """Where another machine sees when the watch last came to its end; None without a catalog."""
    if settings.catalog is None:
        return None
    from kb_dr.adapters.watch_mark import PostgresWatchMark

    return PostgresWatchMark(settings.catalog, service=settings.service, org=settings.org)
