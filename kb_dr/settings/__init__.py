"""Settings: read once, validated together, frozen.

The environment wins over the file of ``--env-file`` (or ``.env`` here), which wins over
``kb_dr.yaml``, whose keys are the same names. All problems are reported in one message.
Nothing here is heavy: every archived WAL segment starts a process that reads this.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from kb_dr.domain.object_lock import LockMode, ObjectLock
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.service_commands import ServiceCommands, is_health_address
from kb_dr.logs import FORMATS
from kb_dr.scrub import remember
from kb_dr.settings.alerting import (
    CHANNEL_NAMES,
    AlertSettings,
    ChannelSettings,
    Email,
    PagerDuty,
    SlackBot,
    SlackWebhook,
    Sns,
    Webhook,
    read_alerting,
)
from kb_dr.settings.catalog_url import read_catalog
from kb_dr.settings.cloudwatch import CloudWatchSettings, read_cloudwatch
from kb_dr.settings.files import with_files
from kb_dr.settings.hosts import is_local
from kb_dr.settings.pings import read_pings
from kb_dr.settings.reader import Reader, is_slot_name
from kb_dr.settings.secret import Secret
from kb_dr.settings.thresholds import Thresholds, read_thresholds
from kb_dr.settings.values import (
    COPY_NAMES,
    DEFAULT_SLOT,
    CatalogSettings,
    DirectoryLocation,
    Objectives,
    S3Settings,
    Settings,
    SourceSettings,
)

__all__ = [
    "CHANNEL_NAMES",
    "COPY_NAMES",
    "DEFAULT_SLOT",
    "AlertSettings",
    "CatalogSettings",
    "ChannelSettings",
    "CloudWatchSettings",
    "DirectoryLocation",
    "Email",
    "Objectives",
    "PagerDuty",
    "S3Settings",
    "Secret",
    "Settings",
    "SlackBot",
    "SlackWebhook",
    "Sns",
    "SourceSettings",
    "Thresholds",
    "Webhook",
    "is_slot_name",
    "load_settings",
]


_LOCAL_PATH = "./backups/"


def load_settings(
    environment: Mapping[str, str] | None = None, *, env_file: Path | None = None
) -> Settings:
    """Read and validate everything; raise one ConfigurationError that names all problems."""
    given = dict(os.environ if environment is None else environment)
    chosen = env_file or (Path(given["KB_DR_ENV_FILE"]) if given.get("KB_DR_ENV_FILE") else None)
    if chosen is None and Path(".env").is_file():
        chosen = Path(".env")
    values = with_files(given, chosen)
    reader = Reader(values)
    settings = Settings(
        service=reader.name("KB_DR_SERVICE", "kb"),
        org=reader.name("KB_DR_ORG", "default"),
        source=_source(reader),
        primary=_primary(reader),
        offsite=_offsite(reader),
        local=_local_copy(reader),
        recipients=_recipients(reader),
        identity_file=reader.path("KB_DR_AGE_IDENTITY_FILE"),
        postgres_bin_dirs=tuple(
            Path(part).expanduser()
            for part in reader.text("KB_DR_POSTGRES_BIN_DIRS", "").split(os.pathsep)
            if part
        ),
        postgres_os_user=reader.text("KB_DR_POSTGRES_OS_USER", "") or None,
        scratch_dir=reader.path("KB_DR_SCRATCH_DIR") or Path("/var/tmp/kb-dr-scratch"),  # noqa: S108 - checked for its owner before use
        state_dir=reader.path("KB_DR_STATE_DIR") or _default_state_dir(values),
        critical_tables=reader.words("KB_DR_CRITICAL_TABLES"),
        chunk_bytes=reader.whole("KB_DR_CHUNK_MIB", 16, 1, 64) * 1024 * 1024,
        transfers=reader.whole("KB_DR_TRANSFERS", 4, 1, 32),
        s3_timeout_seconds=reader.number("KB_DR_S3_TIMEOUT_SECONDS", 60, 1),
        expected_schema_version=reader.text("KB_DR_EXPECTED_SCHEMA_VERSION", "") or None,
        local_dump_dir=_local_dump_dir(reader),
        load_jobs=reader.whole("KB_DR_LOAD_JOBS", 2, 1, 64),
        chain_length=reader.whole("KB_DR_CHAIN_LENGTH", 24, 1, 500),
        wal_deadline_seconds=reader.number("KB_DR_WAL_DEADLINE_SECONDS", 600, 1),
        restore_patience_seconds=reader.number("KB_DR_RESTORE_PATIENCE_SECONDS", 900, 0),
        stream_slot=reader.slot("KB_DR_STREAM_SLOT", DEFAULT_SLOT),
        objectives=Objectives(
            rpo_seconds=reader.number("KB_DR_RPO_SECONDS", 3600, 1),
            rto_seconds=reader.number("KB_DR_RTO_SECONDS", 4 * 3600, 1),
            backup_age_seconds=reader.number("KB_DR_BACKUP_AGE_HOURS", 26, 0.0001) * 3600,
            proof_age_seconds=reader.number("KB_DR_PROOF_AGE_HOURS", 8 * 24, 0.01) * 3600,
            control_age_seconds=reader.number("KB_DR_CONTROL_AGE_HOURS", 35 * 24, 0.01) * 3600,
            drill_age_seconds=reader.number("KB_DR_DRILL_AGE_DAYS", 100, 0.01) * 86400,
        ),
        heartbeat=reader.switch("KB_DR_HEARTBEAT", default=False),
        backup_schedule=reader.cron("KB_BACKUP_SCHEDULE", "0 2 * * *"),
        incremental_schedule=reader.cron_or_off("KB_DR_INCREMENTAL_SCHEDULE", "30 * * * *"),
        dump_schedule=reader.cron_or_off("KB_DR_DUMP_SCHEDULE", "0 3 * * 0"),
        verify_schedule=reader.cron("KB_DR_VERIFY_SCHEDULE", "0 6 * * 0"),
        controls_schedule=reader.cron("KB_DR_CONTROLS_SCHEDULE", "0 5 2 * *"),
        drill_schedule=reader.cron("KB_DR_DRILL_SCHEDULE", "0 7 1 1,4,7,10 *"),
        restore_test_schedule=reader.cron("KB_DR_RESTORE_TEST_SCHEDULE", "0 7 15 * *"),
        report_schedule=reader.cron("KB_DR_REPORT_SCHEDULE", "0 5 * * *"),
        retention_schedule=reader.cron("KB_DR_RETENTION_SCHEDULE", "0 4 * * *"),
        retention=_retention(reader),
        space_warning_percent=reader.whole("KB_DR_SPACE_WARNING_PERCENT", 80, 1, 100),
        service_commands=_service_commands(reader),
        pings=read_pings(reader),
        log_format=reader.word("KB_DR_LOG_FORMAT", *FORMATS),
        thresholds=read_thresholds(reader),
        alerting=(alerting := read_alerting(reader)),
        cloudwatch=read_cloudwatch(reader, alerting),
        catalog=read_catalog(reader),
        pushgateway_url=reader.text("KB_DR_PUSHGATEWAY_URL", ""),
        env_file=chosen.absolute() if chosen else None,
    )
    _refuse_shared_places(reader, settings)
    reader.finish()
    return settings


def _refuse_shared_places(reader: Reader, settings: Settings) -> None:
    """Else every copy and every proof of it would be green at once, and worth nothing."""
    names = {"offsite": "KB_DR_OFFSITE_URL", "local": "KB_DR_LOCAL_COPY_PATH"}
    for number, copy in enumerate(settings.copies):
        for other in settings.copies[:number]:
            one, two = settings.location(other), settings.location(copy)
            if one is not None and two is not None and _is_same_place(one, two):
                reader.problem(names[copy], f"the {other} repository itself", "another place")


def _default_state_dir(values: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/kb-dr")
    home = values.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "kb-dr"


def _source(reader: Reader) -> SourceSettings:
    host = reader.text("KB_DB_HOST", "localhost")
    if "://" in host or "@" in host:
        # Not shown: such an address often holds a password.
        reader.problem("KB_DB_HOST", "more than a host", "a name, an address or a directory")
    sslmode = reader.text("KB_DR_DB_SSLMODE", "prefer" if is_local(host) else "verify-full")
    if not is_local(host) and sslmode in ("disable", "allow", "prefer"):
        reader.problem(
            "KB_DR_DB_SSLMODE", f"{sslmode!r} lets {host} be reached in plain text", "verify-full"
        )
    password = reader.text("KB_DB_PASSWORD", "")
    password_file = reader.path("KB_DR_DB_PASSWORD_FILE")
    if password_file is not None:
        password = reader.secret_file("KB_DR_DB_PASSWORD_FILE", password_file)
    return SourceSettings(
        host=host,
        port=reader.whole("KB_DB_PORT", 5432, 1, 65535),
        database=reader.text("KB_DB_NAME", "kb"),
        user=reader.text("KB_DB_USER", "postgres"),
        password=Secret(password) if password else None,
        sslmode=sslmode,
        data_directory=reader.path("KB_DR_SOURCE_DATA_DIRECTORY"),
    )


def _local_dump_dir(reader: Reader) -> Path:
    local = reader.text("KB_BACKUP_LOCAL_PATH", _LOCAL_PATH)
    return Path(local.removeprefix("file://")).expanduser().absolute()


def _primary(reader: Reader) -> DirectoryLocation | S3Settings:
    bucket = reader.text("KB_BACKUP_S3_BUCKET", "")
    local = reader.text("KB_BACKUP_LOCAL_PATH", _LOCAL_PATH)
    url = reader.text("KB_DR_REPOSITORY_URL", f"s3://{bucket}" if bucket else local)
    return _location(reader, "KB_DR_REPOSITORY", url)


def _offsite(reader: Reader) -> DirectoryLocation | S3Settings | None:
    url = reader.text("KB_DR_OFFSITE_URL", "")
    return _location(reader, "KB_DR_OFFSITE", url) if url else None


def _local_copy(reader: Reader) -> DirectoryLocation | None:
    path = reader.path("KB_DR_LOCAL_COPY_PATH")
    return DirectoryLocation(path) if path is not None else None


def _retention(reader: Reader) -> dict[str, RetentionPolicy]:
    """What each copy keeps: a setting of its own, else that of the primary, else the default."""
    days = reader.whole("KB_BACKUP_RETENTION_DAYS", 30, 1, 36500)
    primary = _policy(reader, "KB_DR_RETENTION", RetentionPolicy(daily_days=days))
    return {
        "primary": primary,
        "offsite": _policy(reader, "KB_DR_OFFSITE_RETENTION", primary),
        "local": _policy(reader, "KB_DR_LOCAL_RETENTION", primary),
    }


def _policy(reader: Reader, kept: str, default: RetentionPolicy) -> RetentionPolicy:
    def whole(name: str, default: int, least: int = 0) -> int:
        return reader.whole(name, default, least, 36500)

    return RetentionPolicy(
        hourly_hours=whole(f"{kept}_HOURLY_HOURS", default.hourly_hours),
        daily_days=whole(f"{kept}_DAILY_DAYS", default.daily_days, 1),
        weekly_weeks=whole(f"{kept}_WEEKLY_WEEKS", default.weekly_weeks),
        monthly_months=whole(f"{kept}_MONTHLY_MONTHS", default.monthly_months),
        quarterly_years=whole(f"{kept}_QUARTERLY_YEARS", default.quarterly_years),
        wal_days=whole(f"{kept}_WAL_DAYS", default.wal_days),
        undelete_days=whole(f"{kept}_UNDELETE_DAYS", default.undelete_days),
    )


def _location(reader: Reader, stem: str, url: str) -> DirectoryLocation | S3Settings:
    if not url.startswith("s3://"):
        if "://" in url and not url.startswith("file://"):
            # Not shown whole: such an address may hold a password.
            reader.problem(
                f"{stem}_URL", f"{url.split('://')[0]}://…", "s3://bucket/prefix or a directory"
            )
        if _object_lock(reader, stem) is not None:
            reader.problem(f"{stem}_OBJECT_LOCK_MODE", "a directory locks nothing", "off")
        return DirectoryLocation(Path(url.removeprefix("file://")).expanduser().absolute())
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.query:
        reader.problem(f"{stem}_URL", "no bucket, or more than bucket and prefix", "s3://bucket")
    endpoint = reader.text(f"{stem}_ENDPOINT_URL", "") or None
    if endpoint is not None:
        seen = urlsplit(endpoint)
        if seen.scheme not in ("http", "https") or not seen.hostname or seen.username:
            reader.problem(f"{stem}_ENDPOINT_URL", "not an address", "https://host:port")
        elif seen.scheme == "http" and not is_local(seen.hostname):
            reader.problem(f"{stem}_ENDPOINT_URL", "plain text to another machine", "https://…")
    key = reader.text(f"{stem}_ACCESS_KEY_ID", reader.text("AWS_ACCESS_KEY_ID", "")) or None
    secret = reader.text(f"{stem}_SECRET_ACCESS_KEY", reader.text("AWS_SECRET_ACCESS_KEY", ""))
    # It belongs to the keys of AWS's own names, and to no others.
    own = bool(reader.text(f"{stem}_ACCESS_KEY_ID", ""))
    token = "" if own else reader.text("AWS_SESSION_TOKEN", "")
    if (key is None) != (not secret):
        reader.problem(f"{stem}_ACCESS_KEY_ID", "a key without its secret, or the reverse", "both")
    return S3Settings(
        bucket=parts.netloc,
        prefix=parts.path.strip("/") or reader.name("KB_DR_ORG", "default"),
        endpoint_url=endpoint,
        region=reader.text(f"{stem}_REGION", reader.text("AWS_REGION", "us-east-1")),
        access_key_id=key,
        secret_access_key=Secret(secret) if secret else None,
        session_token=Secret(token) if token and key else None,
        sse_kms_key_id=reader.text(f"{stem}_SSE_KMS_KEY_ID", "") or None,
        object_lock=_object_lock(reader, stem),
    )


def _object_lock(reader: Reader, stem: str) -> ObjectLock | None:
    mode = reader.text(f"{stem}_OBJECT_LOCK_MODE", "off").lower()
    days = reader.whole(f"{stem}_OBJECT_LOCK_DAYS", 0, 0, 36500)
    if mode in ("off", "false"):  # YAML reads a bare off as false
        return None
    if mode not in list(LockMode):
        reader.problem(f"{stem}_OBJECT_LOCK_MODE", repr(mode), "off, governance or compliance")
        return None
    if days == 0:
        reader.problem(f"{stem}_OBJECT_LOCK_DAYS", "a mode without its days", "1 or more")
        return None
    return ObjectLock(LockMode(mode), days)


def _is_same_place(
    one: DirectoryLocation | S3Settings, other: DirectoryLocation | S3Settings
) -> bool:
    if isinstance(one, S3Settings) and isinstance(other, S3Settings):
        return (one.endpoint_url, one.bucket, one.prefix) == (
            other.endpoint_url, other.bucket, other.prefix,
        )  # fmt: skip
    if isinstance(one, DirectoryLocation) and isinstance(other, DirectoryLocation):
        here, there = one.path.resolve(), other.path.resolve()
        return here == there or here in there.parents or there in here.parents
    return False


def _service_commands(reader: Reader) -> ServiceCommands:
    app_stop = reader.text("KB_DR_APP_STOP_COMMAND", "") or None
    app_start = reader.text("KB_DR_APP_START_COMMAND", "") or None
    postgres_stop = reader.text("KB_DR_POSTGRES_STOP_COMMAND", "") or None
    postgres_start = reader.text("KB_DR_POSTGRES_START_COMMAND", "") or None
    for name, one, other in (
        ("KB_DR_APP_STOP_COMMAND", app_stop, app_start),
        ("KB_DR_POSTGRES_STOP_COMMAND", postgres_stop, postgres_start),
    ):
        if (one is None) != (other is None):
            reader.problem(name, "a stop without its start, or the reverse", "both or neither")
    url = reader.text("KB_DR_HEALTH_URL", "") or None
    if url and not is_health_address(url):
        # Not shown: it may hold a password.
        reader.problem("KB_DR_HEALTH_URL", "not an address", "http://host:port/path or https://…")
    if url and "?" in url:
        remember(url.split("?", 1)[1])  # it may be a token
    return ServiceCommands(
        app_stop=app_stop,
        app_start=app_start,
        postgres_stop=postgres_stop,
        postgres_start=postgres_start,
        migrations=reader.text("KB_DR_MIGRATIONS_COMMAND", "") or None,
        migrations_check=reader.text("KB_DR_MIGRATIONS_CHECK_COMMAND", "") or None,
        health=reader.text("KB_DR_HEALTH_COMMAND", "") or None,
        health_url=url,
        seconds=reader.number("KB_DR_COMMAND_SECONDS", 300, 1),
    )


def _recipients(reader: Reader) -> tuple[str, ...]:
    found = list(reader.words("KB_DR_AGE_RECIPIENTS"))
    for name in found:
        if not name.startswith("age1"):
            reader.problem("KB_DR_AGE_RECIPIENTS", "one that does not begin with age1", "age1…")
    return tuple(found)
