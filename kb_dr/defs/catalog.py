"""The catalog database follows the repositories."""

import dagster as dg

from kb_dr.defs.resources import InstallationDoor
from kb_dr.errors import KbDrError


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Brings the table `backup_logs` and its siblings in line with the repositories, "
    "which are the truth; `kb-dr catalog rebuild` makes them anew.",
)
def catalog_follows_the_repository(door: dg.ResourceParam[InstallationDoor]) -> dg.SkipReason:
    """Listings alone where nothing changed; nothing else waits for it, or for its database."""
    try:
        installation = door.open()
        if installation.settings.catalog is None:
            return dg.SkipReason("no catalog is configured (KB_DR_CATALOG_URL)")
        done = installation.sync_catalog()
    except KbDrError as error:
        return dg.SkipReason(f"not brought in line: {error}")
    silent = "".join(f"; not looked at: {each}" for each in done.state.problems)
    return dg.SkipReason(
        f"{done.state.backups} backups; {done.changed} changed, {done.removed} removed{silent}"
    )
