"""Ticks of the sensors that look at every backup, on a Dagster of their own in memory."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import dagster as dg
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from sqlalchemy import insert, select

from kb_dr.defs import ledger
from kb_dr.defs.catalog import catalog_follows_the_repository
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys, sensors
from kb_dr.defs.postgres.judgement import load_holdings
from kb_dr.defs.postgres.report import report_backup
from kb_dr.defs.postgres.sensors import new_backups_go_offsite, pages_follow_the_repository
from kb_dr.defs.resources import InstallationDoor
from kb_dr.installation import Installation
from kb_dr.operations.batches import batches

SENSORS = {
    each.name: each
    for each in (
        catalog_follows_the_repository,
        new_backups_go_offsite,
        pages_follow_the_repository,
    )
}

_OF_EVENTS = ("evaluation_event_storage_id", "materialization_event_storage_id")


class Ticks:
    """One sensor, ticking when it is told to; it keeps its cursor as the daemon does."""

    def __init__(
        self, installation: Installation, name: str, instance: dg.DagsterInstance | None = None
    ) -> None:
        """``instance``: somebody's Dagster, not one of its own."""
        self._installation = installation
        self._sensor = SENSORS[name]
        self._cursor: str | None = None
        self._life = ExitStack()
        self._instance = instance or self._life.enter_context(dg.DagsterInstance.ephemeral())

    def tick(self) -> str:
        """What it says."""
        context = dg.build_sensor_context(
            instance=self._instance,
            resources={"door": InstallationDoor(lambda: self._installation)},
            cursor=self._cursor,
        )
        said = self._sensor(context)
        self._cursor = context.cursor
        return said.skip_message or "" if isinstance(said, dg.SkipReason) else "it asks for runs"

    def settle(self) -> None:
        """Where ticks of many hours lead: the pages show every backup, and a look at each of them
        by this process found nothing to change.

        One backup with a proof and one without are shown as a tick shows them; what Dagster keeps
        of these is what it is given of all others.
        """
        instance, installation = self._instance, self._installation
        holdings = load_holdings(installation)
        backups = sorted(holdings.entries)
        instance.add_dynamic_partitions(POSTGRES_BACKUPS, backups)
        proven = set(installation.proofs_listed())
        for some in ([b for b in backups if b in proven], [b for b in backups if b not in proven]):
            if some:
                template, *others = some
                shown = ledger.shown(instance, keys.RESTORE_PROVEN)
                assert report_backup(instance, installation, holdings, template, shown)
                assert not report_backup(
                    instance, installation, holdings, template,
                    ledger.shown(instance, keys.RESTORE_PROVEN),
                ), f"{template} is not in line"  # fmt: skip
                _show_likewise(instance.event_log_storage, template, others)
        with patch.object(sensors, "report_backup", lambda *_: ()):
            self.tick()


def _show_likewise(storage: EventLogStorage, template: str, others: Iterable[str]) -> None:
    """Give the others all events and checks of one partition, in the order it has them."""
    with storage.index_connection() as connection:  # type: ignore[attr-defined]  # of SQL storages
        events = _rows(connection, SqlEventLogStorageTable, template)
        checks = _rows(connection, AssetCheckExecutionsTable, template)
        for some in batches(others, 200):
            last = _last(connection, SqlEventLogStorageTable)
            new_events: list[dict[str, Any]] = []
            new_checks: list[dict[str, Any]] = []
            for other in some:
                numbers: dict[int | None, int | None] = {None: None}
                for event in events:
                    last += 1
                    numbers[event["id"]] = last
                    new_events.append(_renamed(event, template, other) | {"id": last})
                for check in checks:
                    renamed = _renamed(check, template, other)
                    del renamed["id"]
                    for column in _OF_EVENTS:
                        renamed[column] = numbers[renamed[column]]
                    new_checks.append(renamed)
            connection.execute(insert(SqlEventLogStorageTable), new_events)
            if new_checks:
                connection.execute(insert(AssetCheckExecutionsTable), new_checks)


def _rows(connection: Any, table: Any, partition: str) -> list[dict[str, Any]]:
    found = connection.execute(
        select(table).where(table.c.partition == partition).order_by(table.c.id)
    )
    return [dict(row) for row in found.mappings()]


def _last(connection: Any, table: Any) -> int:
    return connection.execute(select(table.c.id).order_by(table.c.id.desc()).limit(1)).scalar() or 0


def _renamed(row: Mapping[str, Any], template: str, other: str) -> dict[str, Any]:
    return {
        name: value.replace(template, other) if isinstance(value, str) else value
        for name, value in row.items()
    }
