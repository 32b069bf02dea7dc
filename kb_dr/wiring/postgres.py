"""The PostgreSQL under protection, and clusters restored from it."""

from typing import TYPE_CHECKING

from kb_dr.settings import Settings
from kb_dr.wiring.machine import unprivileged

if TYPE_CHECKING:
    from kb_dr.ports import (
        BaseBackupProgram,
        HeartbeatTable,
        PostgresHost,
        RestoreDamager,
        ServerInspector,
        ServiceControl,
        ServiceDatabase,
        SourceServer,
        StandingClusters,
        WalReceiver,
    )


def source(settings: Settings) -> "SourceServer":
    """The PostgreSQL under protection."""
    from kb_dr.adapters.postgres_source import PostgresSource

    return PostgresSource(settings.source, settings.stream_slot)


def heartbeat(settings: Settings) -> "HeartbeatTable":
    """The heartbeat's table in the source."""
    from kb_dr.adapters.heartbeat_table import PostgresHeartbeat

    return PostgresHeartbeat(settings.source)


def base_backup_program(settings: Settings) -> "BaseBackupProgram":
    """pg_basebackup of the source's own major version; asks the source which that is."""
    from kb_dr.adapters.pg_basebackup import PgBaseBackup
    from kb_dr.adapters.postgres_programs import find_programs
    from kb_dr.adapters.postgres_session import server_major

    major = server_major(settings.source)
    programs = find_programs(major, settings.postgres_bin_dirs, unprivileged(settings))
    return PgBaseBackup(programs, settings.source, archive_seconds=settings.wal_deadline_seconds)


def wal_receiver(settings: Settings) -> "WalReceiver":
    """pg_receivewal of the source's own major version; asks the source which that is."""
    from kb_dr.adapters.pg_receivewal import PgReceiveWal
    from kb_dr.adapters.postgres_programs import find_programs
    from kb_dr.adapters.postgres_session import server_major

    major = server_major(settings.source)
    programs = find_programs(major, settings.postgres_bin_dirs, unprivileged(settings))
    return PgReceiveWal(programs, settings.source)


def host(settings: Settings) -> "PostgresHost":
    """PostgreSQL's programs on this machine."""
    from kb_dr.adapters.postgres_host import LocalPostgresHost

    return LocalPostgresHost(
        settings.postgres_bin_dirs,
        unprivileged=unprivileged(settings),
        users=(settings.source.user,),
    )


def inspector() -> "ServerInspector":
    """How restored servers are looked at."""
    from kb_dr.adapters.restored_checks import RestoredChecks

    return RestoredChecks()


def damager() -> "RestoreDamager":
    """How restored servers are damaged, in negative controls alone."""
    from kb_dr.adapters.restored_damage import RestoredDamage

    return RestoredDamage()


def standing_clusters() -> "StandingClusters":
    """Data directories on this machine."""
    from kb_dr.adapters.standing_clusters import LocalStandingClusters

    return LocalStandingClusters()


def service_control(settings: Settings) -> "ServiceControl":
    """How the service is stopped, started and checked."""
    from kb_dr.adapters.service_commands import ShellServiceControl

    return ShellServiceControl(settings.service_commands)


def service_database(settings: Settings) -> "ServiceDatabase":
    """The server of the service, as its clients reach it."""
    from kb_dr.adapters.service_database import ServiceSession

    return ServiceSession(settings.source)
