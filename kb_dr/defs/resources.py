"""How the definitions reach an installation: opened at run time, never at import."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from kb_dr import logs
from kb_dr.errors import ConfigurationError
from kb_dr.installation import Installation, open_installation
from kb_dr.settings import Settings, load_settings


def _open_from_environment() -> Installation:
    settings = load_settings()
    # Of our own loggers alone, on stderr; the event log is Dagster's.
    logs.configure(
        logging.INFO, log_format=settings.log_format, service=settings.service, name="kb_dr"
    )
    return open_installation(settings)


@dataclass(frozen=True)
class InstallationDoor:
    """Opens the installation that the environment of this process describes.

    A plain object and not a configurable resource on purpose: Dagster shows a resource's
    configuration to everyone, and lets anyone who may launch a run change it.
    """

    open: Callable[[], Installation] = _open_from_environment
    """Settings are read and validated now; ConfigurationError names all that is wrong."""


@dataclass(frozen=True, slots=True)
class ScheduleTimes:
    """When things happen, as cron lines in UTC."""

    backup: str = "0 2 * * *"
    verify: str = "0 6 * * 0"
    controls: str = "0 5 2 * *"
    drill: str = "0 7 1 1,4,7,10 *"
    restore_test: str = "0 7 15 * *"
    report: str = "0 5 * * *"
    retention: str = "0 4 * * *"
    incremental: str | None = "30 * * * *"
    """None: no incremental backups are taken unattended."""
    dump: str | None = "0 3 * * 0"
    """None: no logical dumps are taken unattended."""
    digest: str | None = "0 8 * * 1"
    """None: no weekly digest is sent."""


def schedule_times(read: Callable[[], Settings] = load_settings) -> ScheduleTimes:
    """The times configured; the defaults when the settings cannot be used.

    A broken setting must not take the code location down: what runs then says what is wrong.
    """
    default = ScheduleTimes()
    try:
        settings = read()
    except ConfigurationError:
        return default
    return ScheduleTimes(
        _cron_or(settings.backup_schedule, default.backup),
        _cron_or(settings.verify_schedule, default.verify),
        _cron_or(settings.controls_schedule, default.controls),
        drill=_cron_or(settings.drill_schedule, default.drill),
        restore_test=_cron_or(settings.restore_test_schedule, default.restore_test),
        report=_cron_or(settings.report_schedule, default.report),
        retention=_cron_or(settings.retention_schedule, default.retention),
        incremental=settings.incremental_schedule
        and _cron_or(settings.incremental_schedule, default.incremental or ""),
        dump=settings.dump_schedule and _cron_or(settings.dump_schedule, default.dump or ""),
        digest=settings.alerting.digest_schedule
        and _cron_or(settings.alerting.digest_schedule, default.digest or ""),
    )


def _cron_or(wanted: str, default: str) -> str:
    try:
        dg.ScheduleDefinition(name="tried", cron_schedule=wanted, job_name="none")
    except dg.DagsterInvalidDefinitionError:
        return default
    return wanted
