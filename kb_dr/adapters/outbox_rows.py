"""Alerts and deliveries as rows of the outbox's tables."""

from typing import Any

from psycopg.types.json import Jsonb

from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Changes
from kb_dr.domain.delivery import ChannelState, Delivery
from kb_dr.records import as_builtins, from_builtins


def read_alert(body: Any) -> Alert:
    """One alert of its ``body``."""
    return from_builtins(Alert, body)


def read_delivery(body: Any) -> Delivery:
    """One delivery of its ``body``."""
    return from_builtins(Delivery, body)


def read_channel(body: Any) -> ChannelState:
    """One channel's state of its ``body``."""
    return from_builtins(ChannelState, body)


def write_changes(session: Session, changes: Changes) -> None:
    """Put all of it in place of what stands there; in the caller's transaction."""
    with session.cursor() as cursor:
        if changes.alerts:
            cursor.executemany(
                "insert into alert_log (id, key, kind, severity, title, opened_at, last_seen_at,"
                " closed_at, acknowledged_at, body) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " on conflict (id) do update set severity = excluded.severity,"
                " title = excluded.title, opened_at = excluded.opened_at,"
                " last_seen_at = excluded.last_seen_at, closed_at = excluded.closed_at,"
                " acknowledged_at = excluded.acknowledged_at, body = excluded.body",
                [
                    (
                        each.id, each.key, each.kind, str(each.severity), each.title,
                        each.opened_at, each.last_seen_at, each.closed_at, each.acknowledged_at,
                        Jsonb(as_builtins(each)),
                    )
                    for each in changes.alerts
                ],
            )  # fmt: skip
        if changes.deliveries:
            cursor.executemany(
                "insert into alert_deliveries (id, alert_id, channel, what, sequence, state,"
                " created_at, finished_at, body) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " on conflict (id) do update set alert_id = excluded.alert_id,"
                " state = excluded.state, finished_at = excluded.finished_at,"
                " body = excluded.body",
                [
                    (
                        each.id, each.alert_id, each.channel, str(each.what), each.sequence,
                        str(each.state), each.created_at, each.finished_at,
                        Jsonb(as_builtins(each)),
                    )
                    for each in changes.deliveries
                ],
            )  # fmt: skip
        if changes.channels:
            cursor.executemany(
                "insert into alert_channels (name, body) values (%s, %s)"
                " on conflict (name) do update set body = excluded.body",
                [(each.name, Jsonb(as_builtins(each))) for each in changes.channels],
            )
        if changes.notices:
            cursor.executemany(
                "insert into alert_notices (id, taken_at) values (%s, %s) on conflict do nothing",
                list(changes.notices),
            )
