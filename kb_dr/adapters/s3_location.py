"""Where a repository on S3 is, and how long it may take."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kb_dr.errors import ConfigurationError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class S3Location:
    """One bucket and prefix. Raises ConfigurationError for http outside loopback."""

    bucket: str
    prefix: str = ""
    """Text before every key, without a slash at either end."""
    endpoint_url: str | None = None
    """None for AWS; else ``http(s)://host:port``, addressed path-style."""
    region: str = "us-east-1"
    access_key_id: str | None = None
    """None, with the secret, for the chain of AWS (environment, container, instance)."""
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    sse_kms_key_id: str | None = None
    """Key of SSE-KMS for every object; None leaves it to the bucket's default."""
    timeout_seconds: float = 60.0
    """Deadline of one request, its body included: a chunk has at most 64 MiB."""
    deadline_seconds: float | None = None
    """Deadline of one call with all its retries: no request is begun after it. None: four times
    the deadline of one request, so that one setting makes both short."""
    conditional_writes: bool | None = None
    """True: the store is known to enforce If-None-Match. None or False: each put looks first;
    None sends the header all the same, False never does (a store that refuses it)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", self.prefix.strip("/"))
        if not self.bucket:
            raise ConfigurationError("use an S3 repository: the bucket has no name")
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ConfigurationError(
                f"use {self.url}: an access key needs its secret, and a secret its access key"
            )
        if self.endpoint_url is not None:
            self._require_safe(self.endpoint_url)

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    @property
    def retry_seconds(self) -> float:
        """How long one call goes on trying."""
        return 4 * self.timeout_seconds if self.deadline_seconds is None else self.deadline_seconds

    @property
    def is_loopback(self) -> bool:
        """True when the store runs on this very machine."""
        return self.endpoint_url is not None and urlsplit(self.endpoint_url).hostname in _LOOPBACK

    def _require_safe(self, endpoint_url: str) -> None:
        parts = urlsplit(endpoint_url)
        if parts.username or parts.password:
            raise ConfigurationError(f"use {self.url}: its endpoint holds a user or password")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"use {self.url}: its endpoint is not an http(s) address")
        if parts.scheme == "http" and not self.is_loopback:
            raise ConfigurationError(
                f"use {self.url} at {parts.hostname}: http is only for loopback",
                hint="Give the endpoint as https://.",
            )
