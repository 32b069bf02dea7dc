"""What an installation is told, as frozen values."""

from dataclasses import dataclass, field
from pathlib import Path

from kb_dr.domain.object_lock import ObjectLock
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.service_commands import ServiceCommands
from kb_dr.settings.alerting import AlertSettings
from kb_dr.settings.cloudwatch import CloudWatchSettings
from kb_dr.settings.secret import Secret
from kb_dr.settings.thresholds import Thresholds

DEFAULT_SLOT = "kb_dr"

COPY_NAMES = ("primary", "offsite", "local")
"""What the copies of a backup are called, nearest to production first; the local one is a
directory on another medium, and no restore is read from it before the others unless asked."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """The PostgreSQL under protection."""

    host: str
    """A name, an address, or the directory of a unix socket."""
    port: int
    database: str
    user: str
    password: Secret | None
    """None: pgpass, peer or a certificate, as libpq finds them."""
    sslmode: str
    data_directory: Path | None
    """Where it lies on this machine, if it does: a restore refuses this place."""


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """The database that shows what the buckets hold."""

    host: str
    """A name, an address, or the directory of a unix socket."""
    port: int
    database: str
    user: str
    password_file: Path | None
    """Read when the catalog is opened and not before: PostgreSQL's own user, who archives WAL, may
    not be allowed to. None: pgpass, peer or a certificate, as libpq finds them."""
    sslmode: str

    @property
    def url(self) -> str:
        """Where it is, for people; without the password."""
        if self.host.startswith("/"):
            return f"postgresql://{self.user}@/{self.database}?host={self.host}&port={self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{self.user}@{host}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True)
class DirectoryLocation:
    """A repository in a directory."""

    path: Path


@dataclass(frozen=True, slots=True)
class S3Settings:
    """A repository in a bucket."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    region: str
    access_key_id: str | None
    secret_access_key: Secret | None
    """None with None: the AWS chain (instance profile, web identity)."""
    session_token: Secret | None
    """Of temporary keys (assumed roles, single sign-on): those are refused without it."""
    sse_kms_key_id: str | None
    object_lock: ObjectLock | None = None
    """What the bucket is to retain of everything written to it."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """What must hold; `kb-dr status` measures against it."""

    rpo_seconds: float
    rto_seconds: float
    backup_age_seconds: float
    proof_age_seconds: float
    control_age_seconds: float = 35 * 86400.0
    drill_age_seconds: float = 100 * 86400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an installation is told."""

    service: str
    org: str
    source: SourceSettings
    primary: DirectoryLocation | S3Settings
    offsite: DirectoryLocation | S3Settings | None
    local: DirectoryLocation | None
    """A third copy, on a disk of this machine or a mount."""
    recipients: tuple[str, ...]
    identity_file: Path | None
    postgres_bin_dirs: tuple[Path, ...]
    postgres_os_user: str | None
    scratch_dir: Path
    state_dir: Path
    critical_tables: tuple[str, ...]
    """Empty: every table of the database under protection."""
    chunk_bytes: int
    transfers: int
    """Uploads or downloads at once."""
    s3_timeout_seconds: float
    expected_schema_version: str | None
    """The migration version the application needs (Alembic's head); None: not told."""
    local_dump_dir: Path
    """Where dumps in files of their own go, unless another place is named."""
    load_jobs: int
    """Connections pg_dump (into a directory) and pg_restore work through at once."""
    chain_length: int
    """Incremental backups on one full, and hours a recovery point may come after it; then a full
    is taken."""
    wal_deadline_seconds: float
    """How long a backup waits for its WAL to arrive in the repository."""
    restore_patience_seconds: float
    """How long a restore or a proof that has begun waits for a repository that went away."""
    stream_slot: str
    """The replication slot `kb-dr wal stream` reads through."""
    objectives: Objectives
    heartbeat: bool
    """Whether `kb-dr heartbeat run` is expected to be running."""
    backup_schedule: str
    incremental_schedule: str | None
    """None: no incremental backups are taken unattended."""
    dump_schedule: str | None
    """None: no logical dumps are taken unattended."""
    verify_schedule: str
    controls_schedule: str
    drill_schedule: str
    restore_test_schedule: str
    report_schedule: str
    retention_schedule: str
    retention: dict[str, RetentionPolicy]
    """Copy to what it keeps; every copy of COPY_NAMES is named."""
    space_warning_percent: float
    """Used share of a copy's file system from which on its filling up is said."""
    service_commands: ServiceCommands
    """How the service is stopped, started and checked when its cluster is replaced."""
    alerting: AlertSettings
    """Who is told of what breaks, and when again."""
    cloudwatch: CloudWatchSettings
    """Where metrics and logs go besides."""
    pings: dict[str, Secret]
    """Work to the address a dead man's switch is told of it at; of domain.ping.WORKS."""
    log_format: str
    """One of kb_dr.logs.FORMATS."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """From where on a check of the watch says no."""
    catalog: CatalogSettings | None = field(default=None)
    """None: the buckets alone."""
    pushgateway_url: str = ""
    """Where `kb-dr metrics push` pushes to; empty: it has to be told."""
    env_file: Path | None = field(default=None)
    """The file some of this came from, so that a restore_command can name it."""

    @property
    def copies(self) -> tuple[str, ...]:
        """The copies configured, in the order of COPY_NAMES."""
        return tuple(name for name in COPY_NAMES if self.location(name) is not None)

    def location(self, copy: str) -> DirectoryLocation | S3Settings | None:
        """Where the copy of that name lives; None when it is not configured, or no name of one."""
        places = {"primary": self.primary, "offsite": self.offsite, "local": self.local}
        return places.get(copy)
