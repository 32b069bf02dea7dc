"""Settings to adapters: the only place that picks an implementation.

Imports stand inside the functions, so that the WAL path loads only what it uses.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kb_dr.errors import ConfigurationError
from kb_dr.settings import COPY_NAMES, DirectoryLocation, S3Settings, Settings, SourceSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kb_dr.adapters.s3_location import S3Location
    from kb_dr.adapters.unprivileged import Unprivileged
    from kb_dr.domain.space import Space
    from kb_dr.ports import (
        AlertRecords,
        BaseBackupProgram,
        Bucket,
        Catalog,
        Channel,
        Clock,
        CloudWatch,
        Codec,
        DatabaseServer,
        DumpLoader,
        DumpProgram,
        DumpSource,
        HeartbeatTable,
        LoadTarget,
        Outbox,
        Pinger,
        PostgresHost,
        Repository,
        RestoreDamager,
        RestoredServer,
        ScratchSpace,
        ServerInspector,
        ServiceControl,
        ServiceDatabase,
        SourceServer,
        StandingClusters,
        WalReceiver,
        WatchMark,
        WholeFiles,
    )

_NO_FILE = (
    "No file with settings was read, and there is no .env here: go to where it is, or give it "
    "with `kb-dr --env-file FILE`. Only if there is none yet: "
)


_HASTY_SECONDS = 5.0
"""Four times as long at most for each call."""

_HOW_TO_CONFIGURE = {
    "offsite": "Set KB_DR_OFFSITE_URL to a bucket in another region, or a directory.",
    "local": "Set KB_DR_LOCAL_COPY_PATH to a directory on another disk than production's.",
}


def repository(settings: Settings, copy: str) -> "Repository":
    """The repository of one copy; see COPY_NAMES."""
    location = settings.location(copy)
    if location is not None:
        return _repository(settings, location, copy)
    if copy in _HOW_TO_CONFIGURE:
        raise ConfigurationError(
            f"open the {copy} repository: none is configured", hint=_HOW_TO_CONFIGURE[copy]
        )
    raise ConfigurationError(f"open repository {copy!r}: expected one of {', '.join(COPY_NAMES)}")


def bucket(settings: Settings, copy: str) -> "Bucket | None":
    """The bucket one copy lies in; None for a directory, which does nothing by itself."""
    location = settings.location(copy)
    if not isinstance(location, S3Settings):
        return None
    from kb_dr.adapters.s3_bucket import S3Bucket

    return S3Bucket(_s3_location(settings, location))


def make_place(settings: Settings, copy: str) -> None:
    """Make the directory of a repository that is one; buckets are made by who owns the account."""
    location = settings.location(copy)
    if isinstance(location, DirectoryLocation):
        from kb_dr.adapters.directory_repository import DirectoryRepository

        DirectoryRepository(location.path, copy).create()


def codec(settings: Settings) -> "Codec":
    """Compression and encryption; without recipients nothing can be stored."""
    from kb_dr.adapters.age_codec import AgeCodec
    from kb_dr.adapters.identity_file import read_identities

    if not settings.recipients:
        raise ConfigurationError(
            "open the codec: no recipient to encrypt to",
            hint=("" if settings.env_file else _NO_FILE)
            + "Make a key with `age-keygen -o FILE`; put its public part, age1…, into "
            "KB_DR_AGE_RECIPIENTS.",
        )
    return AgeCodec(settings.recipients, read_identities(settings.identity_file))


def clock() -> "Clock":
    """The clock of this machine."""
    from kb_dr.adapters.clock import SystemClock

    return SystemClock()


def source(settings: Settings) -> "SourceServer":
    """The PostgreSQL under protection."""
    from kb_dr.adapters.postgres_source import PostgresSource

    return PostgresSource(settings.source, settings.stream_slot)


def catalog(settings: Settings) -> "Catalog | None":
    """The catalog database; None when none is configured."""
    if settings.catalog is None:
        return None
    from kb_dr.adapters.postgres_catalog import PostgresCatalog

    return PostgresCatalog(settings.catalog, service=settings.service, org=settings.org)


def channels(settings: Settings) -> "tuple[Channel, ...]":
    """The alert channels configured, in the order of CHANNEL_NAMES."""
    from kb_dr.adapters.channels.build import build_channel

    return tuple(build_channel(each, clock()) for each in settings.alerting.channels.values())


def cloudwatch(settings: Settings, *, patient: bool) -> "CloudWatch":
    """Amazon CloudWatch. Not ``patient``: one try of each call, and not for long."""
    from kb_dr.adapters.cloudwatch import AwsCloudWatch

    return AwsCloudWatch(settings.cloudwatch, patient=patient)


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


def hasty_repository(settings: Settings, copy: str) -> "Repository":
    """The repository of one copy, with short deadlines: alerts do not wait for it."""
    return repository(replace(settings, s3_timeout_seconds=_HASTY_SECONDS), copy)


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
    programs = find_programs(major, settings.postgres_bin_dirs, _unprivileged(settings))
    return PgBaseBackup(programs, settings.source, archive_seconds=settings.wal_deadline_seconds)


def dump_source(settings: Settings) -> "DumpSource":
    """The PostgreSQL under protection, as dumps see it."""
    from kb_dr.adapters.frozen_source import PostgresDumpSource

    return PostgresDumpSource(settings.source)


def dump_program(settings: Settings, *, compressed: bool = False) -> "DumpProgram":
    """pg_dump of the source's own major version, or a newer one; asks the source which that is."""
    from kb_dr.adapters.client_programs import find_client_programs
    from kb_dr.adapters.pg_dump import PgDump
    from kb_dr.adapters.postgres_session import server_major

    major = server_major(settings.source)
    client = find_client_programs(
        "pg_dump", major, settings.postgres_bin_dirs, _unprivileged(settings)
    )
    return PgDump(client, settings.source, compressed=compressed)


def wal_receiver(settings: Settings) -> "WalReceiver":
    """pg_receivewal of the source's own major version; asks the source which that is."""
    from kb_dr.adapters.pg_receivewal import PgReceiveWal
    from kb_dr.adapters.postgres_programs import find_programs
    from kb_dr.adapters.postgres_session import server_major

    major = server_major(settings.source)
    programs = find_programs(major, settings.postgres_bin_dirs, _unprivileged(settings))
    return PgReceiveWal(programs, settings.source)


def host(settings: Settings) -> "PostgresHost":
    """PostgreSQL's programs on this machine."""
    from kb_dr.adapters.postgres_host import LocalPostgresHost

    return LocalPostgresHost(
        settings.postgres_bin_dirs,
        unprivileged=_unprivileged(settings),
        users=(settings.source.user,),
    )


def scratch(settings: Settings) -> "ScratchSpace":
    """Where proofs restore to."""
    from kb_dr.adapters.scratch_space import LocalScratchSpace

    return LocalScratchSpace(settings.scratch_dir, _unprivileged(settings))


def stranger() -> "Codec":
    """A codec that opens nothing: its identity is made now, and nobody has its recipient."""
    import pyrage

    from kb_dr.adapters.age_codec import AgeCodec

    identity = pyrage.x25519.Identity.generate()
    return AgeCodec([str(identity.to_public())], [str(identity)])


def disk_space(directory: Path) -> "Space":
    """The room of the file system a directory of this machine lies on."""
    from kb_dr.adapters.disk_space import disk_space

    return disk_space(directory)


def overlay(real: "Repository", label: str, changes: "Mapping[str, bytes | None]") -> "Repository":
    """A throw-away repository over a real one, which is only read."""
    from kb_dr.adapters.overlay_repository import OverlayRepository

    return OverlayRepository(real, label, changes)


def damager() -> "RestoreDamager":
    """How restored servers are damaged, in negative controls alone."""
    from kb_dr.adapters.restored_damage import RestoredDamage

    return RestoredDamage()


def inspector() -> "ServerInspector":
    """How restored servers are looked at."""
    from kb_dr.adapters.restored_checks import RestoredChecks

    return RestoredChecks()


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


def dump_loader(settings: Settings, address: SourceSettings) -> "DumpLoader":
    """pg_restore and psql, against the server at ``address``; versions are chosen by the work."""
    from kb_dr.adapters.pg_restore import PgRestore

    return PgRestore(settings.postgres_bin_dirs, address)


def whole_files(settings: Settings) -> "WholeFiles":
    """Files of this machine that appear whole or not at all."""
    from kb_dr.adapters.whole_file import LocalWholeFiles

    return LocalWholeFiles(_unprivileged(settings))


def scratch_address(server: "RestoredServer") -> SourceSettings:
    """Where a scratch server is reached."""
    from kb_dr.adapters.scratch_address import scratch_address

    return scratch_address(server)


def database_server(settings: Settings, address: SourceSettings) -> "DatabaseServer":
    """A running server that databases are restored into: nothing else of the settings matters."""
    from kb_dr.adapters.database_server import PostgresDatabases

    return PostgresDatabases(address)


def load_target(address: SourceSettings) -> "LoadTarget":
    """Marks and roles of that server."""
    from kb_dr.adapters.load_target import PostgresLoadTarget

    return PostgresLoadTarget(address)


def _unprivileged(settings: Settings) -> "Unprivileged":
    from kb_dr.adapters.unprivileged import Unprivileged

    return Unprivileged(settings.postgres_os_user)


def _repository(
    settings: Settings, location: DirectoryLocation | S3Settings, copy: str
) -> "Repository":
    if isinstance(location, DirectoryLocation):
        from kb_dr.adapters.directory_repository import DirectoryRepository

        return DirectoryRepository(location.path, copy)
    from kb_dr.adapters.s3_repository import S3Repository

    return S3Repository(_s3_location(settings, location), copy)


def _s3_location(settings: Settings, location: S3Settings) -> "S3Location":
    from kb_dr.adapters.s3_location import S3Location

    return S3Location(
        bucket=location.bucket,
        prefix=location.prefix,
        endpoint_url=location.endpoint_url,
        region=location.region,
        access_key_id=location.access_key_id,
        secret_access_key=(
            location.secret_access_key.reveal() if location.secret_access_key else None
        ),
        session_token=location.session_token.reveal() if location.session_token else None,
        timeout_seconds=settings.s3_timeout_seconds,
        deadline_seconds=4 * settings.s3_timeout_seconds,
        sse_kms_key_id=location.sse_kms_key_id,
    )
