"""Settings: read once, validated together, frozen.

The environment wins over the file of ``--env-file`` (or ``.env`` here), which wins over
``kb_dr.yaml``, whose keys are the same names. All problems are reported in one message.
Nothing here is heavy: every archived WAL segment starts a process that reads this.
"""

import ipaddress
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from kb_dr.domain.service_commands import ServiceCommands, is_health_address
from kb_dr.errors import ConfigurationError

T = TypeVar("T")

DEFAULT_SLOT = "kb_dr"


class Secret:
    """A value that never prints itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, for the one library call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


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
    verify_schedule: str
    controls_schedule: str
    drill_schedule: str
    restore_test_schedule: str
    retention_days: int
    service_commands: ServiceCommands
    """How the service is stopped, started and checked when its cluster is replaced."""
    env_file: Path | None = field(default=None)
    """The file some of this came from, so that a restore_command can name it."""


def load_settings(
    environment: Mapping[str, str] | None = None, *, env_file: Path | None = None
) -> Settings:
    """Read and validate everything; raise one ConfigurationError that names all problems."""
    given = dict(os.environ if environment is None else environment)
    chosen = env_file or (Path(given["KB_DR_ENV_FILE"]) if given.get("KB_DR_ENV_FILE") else None)
    if chosen is None and Path(".env").is_file():
        chosen = Path(".env")
    values = _with_files(given, chosen)
    reader = _Reader(values)
    settings = Settings(
        service=reader.name("KB_DR_SERVICE", "kb"),
        org=reader.name("KB_DR_ORG", "default"),
        source=_source(reader),
        primary=_primary(reader),
        offsite=_offsite(reader),
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
        wal_deadline_seconds=reader.number("KB_DR_WAL_DEADLINE_SECONDS", 600, 1),
        restore_patience_seconds=reader.number("KB_DR_RESTORE_PATIENCE_SECONDS", 900, 0),
        stream_slot=reader.slot("KB_DR_STREAM_SLOT", DEFAULT_SLOT),
        objectives=Objectives(
            rpo_seconds=reader.number("KB_DR_RPO_SECONDS", 3600, 1),
            rto_seconds=reader.number("KB_DR_RTO_SECONDS", 4 * 3600, 1),
            backup_age_seconds=reader.number("KB_DR_BACKUP_AGE_HOURS", 26, 0.01) * 3600,
            proof_age_seconds=reader.number("KB_DR_PROOF_AGE_HOURS", 8 * 24, 0.01) * 3600,
            control_age_seconds=reader.number("KB_DR_CONTROL_AGE_HOURS", 35 * 24, 0.01) * 3600,
            drill_age_seconds=reader.number("KB_DR_DRILL_AGE_DAYS", 100, 0.01) * 86400,
        ),
        heartbeat=reader.switch("KB_DR_HEARTBEAT", default=False),
        backup_schedule=reader.cron("KB_BACKUP_SCHEDULE", "0 2 * * *"),
        verify_schedule=reader.cron("KB_DR_VERIFY_SCHEDULE", "0 6 * * 0"),
        controls_schedule=reader.cron("KB_DR_CONTROLS_SCHEDULE", "0 5 2 * *"),
        drill_schedule=reader.cron("KB_DR_DRILL_SCHEDULE", "0 7 1 1,4,7,10 *"),
        restore_test_schedule=reader.cron("KB_DR_RESTORE_TEST_SCHEDULE", "0 7 15 * *"),
        retention_days=reader.whole("KB_BACKUP_RETENTION_DAYS", 30, 1, 36500),
        service_commands=_service_commands(reader),
        env_file=chosen.absolute() if chosen else None,
    )
    if settings.offsite is not None and _is_same_place(settings.primary, settings.offsite):
        # Else every copy and every proof of it would be green at once, and worth nothing.
        reader.problem("KB_DR_OFFSITE_URL", "the primary repository itself", "another place")
    reader.finish()
    return settings


def is_slot_name(text: str) -> bool:
    """Whether PostgreSQL takes this as the name of a replication slot."""
    return re.fullmatch(r"[a-z0-9_]{1,63}", text) is not None


def _with_files(given: dict[str, str], env_file: Path | None) -> dict[str, str]:
    values: dict[str, str] = {}
    yaml_file = Path(given.get("KB_DR_CONFIG", "kb_dr.yaml"))
    if "KB_DR_CONFIG" in given or yaml_file.is_file():
        values.update(_read_yaml(yaml_file))
    if env_file is not None:
        values.update(_read_env(env_file))
    values.update(given)
    return values


def _read_yaml(file: Path) -> dict[str, str]:
    import yaml  # only where there is such a file: half of this module's import time

    hint = "It is kb_dr.yaml here, or what KB_DR_CONFIG names; lines of the form NAME: value."
    try:
        loaded = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"read {file}: {error.strerror}", hint=hint) from error
    except (yaml.YAMLError, ValueError) as error:
        # Its own words would quote the line, and with it a secret.
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ConfigurationError(f"read {file}: this is no YAML{where}", hint=hint) from None
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"read {file}: expected lines of the form NAME: value", hint=hint)
    return {str(name): str(value) for name, value in loaded.items()}


def _read_env(file: Path) -> dict[str, str]:
    from dotenv.parser import parse_stream

    hint = "Check --env-file (or KB_DR_ENV_FILE); lines of the form NAME=value."
    try:
        if not file.is_file():
            raise ConfigurationError(f"read {file}: no such file", hint=hint)
        with file.open(encoding="utf-8") as stream:
            read = list(parse_stream(stream))
    except OSError as error:
        raise ConfigurationError(f"read {file}: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ConfigurationError(f"read {file}: it is not text", hint=hint) from error
    bad = [line.original.line for line in read if line.error]
    if bad:
        # Never passed over: the default of the setting it was meant for could be another place.
        raise ConfigurationError(f"read {file}: line {bad[0]} makes no sense", hint=hint)
    return {line.key: line.value for line in read if line.key and line.value is not None}


def _default_state_dir(values: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/kb-dr")
    home = values.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "kb-dr"


def _source(reader: "_Reader") -> SourceSettings:
    host = reader.text("KB_DB_HOST", "localhost")
    if "://" in host or "@" in host:
        # Not shown: such an address often holds a password.
        reader.problem("KB_DB_HOST", "more than a host", "a name, an address or a directory")
    sslmode = reader.text("KB_DR_DB_SSLMODE", "prefer" if _is_local(host) else "verify-full")
    if not _is_local(host) and sslmode in ("disable", "allow", "prefer"):
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


def _primary(reader: "_Reader") -> DirectoryLocation | S3Settings:
    bucket = reader.text("KB_BACKUP_S3_BUCKET", "")
    local = reader.text("KB_BACKUP_LOCAL_PATH", "./backups/")
    url = reader.text("KB_DR_REPOSITORY_URL", f"s3://{bucket}" if bucket else local)
    return _location(reader, "KB_DR_REPOSITORY", url)


def _offsite(reader: "_Reader") -> DirectoryLocation | S3Settings | None:
    url = reader.text("KB_DR_OFFSITE_URL", "")
    return _location(reader, "KB_DR_OFFSITE", url) if url else None


def _location(reader: "_Reader", stem: str, url: str) -> DirectoryLocation | S3Settings:
    if not url.startswith("s3://"):
        if "://" in url and not url.startswith("file://"):
            # Not shown whole: such an address may hold a password.
            reader.problem(
                f"{stem}_URL", f"{url.split('://')[0]}://…", "s3://bucket/prefix or a directory"
            )
        return DirectoryLocation(Path(url.removeprefix("file://")).expanduser().absolute())
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.query:
        reader.problem(f"{stem}_URL", "no bucket, or more than bucket and prefix", "s3://bucket")
    endpoint = reader.text(f"{stem}_ENDPOINT_URL", "") or None
    if endpoint is not None:
        seen = urlsplit(endpoint)
        if seen.scheme not in ("http", "https") or not seen.hostname or seen.username:
            reader.problem(f"{stem}_ENDPOINT_URL", "not an address", "https://host:port")
        elif seen.scheme == "http" and not _is_local(seen.hostname):
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
    )


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


def _service_commands(reader: "_Reader") -> ServiceCommands:
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
    return ServiceCommands(
        app_stop=app_stop,
        app_start=app_start,
        postgres_stop=postgres_stop,
        postgres_start=postgres_start,
        migrations_check=reader.text("KB_DR_MIGRATIONS_CHECK_COMMAND", "") or None,
        health=reader.text("KB_DR_HEALTH_COMMAND", "") or None,
        health_url=url,
        seconds=reader.number("KB_DR_COMMAND_SECONDS", 300, 1),
    )


def _recipients(reader: "_Reader") -> tuple[str, ...]:
    found = list(reader.words("KB_DR_AGE_RECIPIENTS"))
    for name in found:
        if not name.startswith("age1"):
            reader.problem("KB_DR_AGE_RECIPIENTS", "one that does not begin with age1", "age1…")
    return tuple(found)


def _is_local(host: str) -> bool:
    if host.startswith("/") or host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Reader:
    """Takes values out of a mapping and remembers everything that is wrong with them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._problems: dict[str, str] = {}

    def problem(self, name: str, seen: str, expected: str) -> None:
        self._problems.setdefault(name, f"{name}: {seen}, expected {expected}")

    def text(self, name: str, default: str) -> str:
        return self._values.get(name, "").strip() or default

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(part for part in self.text(name, "").replace(",", " ").split() if part)

    def path(self, name: str) -> Path | None:
        found = self.text(name, "")
        if found.startswith("AGE-SECRET-KEY-"):
            self.problem(name, "a secret key itself", "the file that holds it")
        return Path(found).expanduser().absolute() if found else None

    def name(self, name: str, default: str) -> str:
        found = self.text(name, default)
        if not found.replace("-", "").replace("_", "").isalnum() or found != found.lower():
            self.problem(name, repr(found), "lower-case letters, digits, - and _")
        return found

    def slot(self, name: str, default: str) -> str:
        found = self.text(name, default)
        if not is_slot_name(found):
            self.problem(name, repr(found), "lower-case letters, digits and _, 63 at most")
        return found

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        return self._converted(name, default, int, f"a whole number, {least} to {most}",
                               lambda value: least <= value <= most)  # fmt: skip

    def number(self, name: str, default: float, least: float) -> float:
        return self._converted(name, default, float, f"a number, at least {least:g}",
                               lambda value: least <= value < float("inf"))  # fmt: skip

    def switch(self, name: str, *, default: bool) -> bool:
        found = self.text(name, "on" if default else "off")
        # YAML reads a bare on as true.
        if found.lower() not in ("on", "off", "true", "false"):
            self.problem(name, repr(found), "on or off")
        return found.lower() in ("on", "true")

    def cron(self, name: str, default: str) -> str:
        found = self.text(name, default)
        if len(found.split()) != 5:
            self.problem(name, repr(found), "five fields of cron, such as 0 2 * * *")
        return found

    def secret_file(self, name: str, path: Path) -> str:
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                self.problem(name, "the file is open to others", "mode 0600")
            return path.read_text().strip()
        except OSError as error:
            # Without the path: somebody may have put the password itself there.
            self.problem(name, f"{error.strerror}", "a readable file")
        except ValueError:
            self.problem(name, "the file is not text", "a readable file")
        return ""

    def finish(self) -> None:
        if self._problems:
            listed = "\n".join(f"  {line}" for line in self._problems.values())
            raise ConfigurationError(
                f"read settings: {len(self._problems)} cannot be used\n{listed}",
                hint=".env.example lists every setting with its meaning.",
            )

    def _converted(
        self,
        name: str,
        default: T,
        convert: Callable[[str], T],
        expected: str,
        holds: Callable[[T], bool],
    ) -> T:
        found = self.text(name, "")
        if not found:
            return default
        try:
            value = convert(found)
        except ValueError:
            self.problem(name, repr(found), expected)
            return default
        if not holds(value):
            self.problem(name, repr(found), expected)
            return default
        return value
