"""Ticks of the sensors that look at every backup, on a Dagster of their own in memory."""

from contextlib import ExitStack

import dagster as dg

from kb_dr.defs.catalog import catalog_follows_the_repository
from kb_dr.defs.postgres.sensors import new_backups_go_offsite, pages_follow_the_repository
from kb_dr.defs.resources import InstallationDoor
from kb_dr.installation import Installation

SENSORS = {
    each.name: each
    for each in (
        catalog_follows_the_repository,
        new_backups_go_offsite,
        pages_follow_the_repository,
    )
}


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
