"""What a sandbox is made of, all in one directory, and what it remembers between commands."""

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from kb_dr.errors import SandboxError

ENV_FILE = "kb_dr.env"
DATABASE = "kb"
SUPERUSER = "kb_admin"
STATE = "sandbox.json"
_LOCK = ".lock"
BUCKETS = {"primary": "kb-backups-a", "offsite": "kb-backups-b"}
"""Region A holds the primary repository, region B the offsite copy."""

_OURS = {_LOCK, f".{STATE}.new"}
"""What a command leaves that was killed before there was a sandbox."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Random, kept in one file of mode 0600, never printed."""

    postgres: str
    s3_key: str
    s3_secret: str
    age_identity: str
    age_recipient: str


@dataclass(frozen=True, slots=True)
class State:
    """The sandbox as it was built."""

    version: int
    entries: int
    ports: dict[str, int]
    """Part to port: chosen at the first start, kept from then on."""
    secrets: Secrets


@dataclass(frozen=True, slots=True)
class Places:
    """The directory, and where everything lies in it."""

    root: Path

    @property
    def state(self) -> Path:
        """Ports and secrets; its presence makes the directory a sandbox."""
        return self.root / STATE

    @property
    def env_file(self) -> Path:
        """The settings of kb-dr for this sandbox."""
        return self.root / ENV_FILE

    @property
    def identity(self) -> Path:
        """The age identity."""
        return self.root / "kb.agekey"

    @property
    def catalog_password(self) -> Path:
        """The password of the catalog's role."""
        return self.root / "catalog.password"

    def data(self, cluster: str) -> Path:
        """The data directory of ``production`` or ``storage``."""
        return self.root / cluster / "data"

    def log(self, part: str) -> Path:
        """What a part says."""
        return self.root / "logs" / f"{part}.log"

    def pid_file(self, part: str) -> Path:
        """Which process a part is."""
        return self.root / "run" / f"{part}.json"

    @property
    def arrivals(self) -> Path:
        """What arrived at the alert sinks."""
        return self.root / "alerts.jsonl"

    @property
    def restored(self) -> Path:
        """Where the demo restores production to, before it takes its place."""
        return self.root / "restored" / "data"

    @property
    def scratch(self) -> Path:
        """Where proofs restore to."""
        return self.root / "scratch"

    def region(self, copy: str) -> Path:
        """The buckets of one region."""
        return self.root / f"region-{'a' if copy == 'primary' else 'b'}"


def open_places(directory: Path) -> Places:
    """The places of a sandbox there is; SandboxError when this is none."""
    places = Places(directory.absolute())
    if not places.state.is_file():
        raise SandboxError(
            f"open sandbox {places.root}: there is none",
            hint="`kb-dr sandbox up` builds one; --dir names another directory.",
        )
    return places


def claim(directory: Path, entries: int) -> tuple[Places, State, bool]:
    """The sandbox in ``directory``, and whether it is new.

    Call it inside locked().
    """
    places = Places(directory.absolute())
    new = not places.state.is_file()
    if new:
        state = State(version=1, entries=entries, ports={}, secrets=_new_secrets())
        write_state(places, state)
    for folder in (places.root / "logs", places.root / "run"):
        folder.mkdir(mode=0o700, exist_ok=True)
    return places, read_state(places), new


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Wait until no other command changes this sandbox; the kernel frees the lock of a dead one.

    A directory with something else in it is refused and left as it is.
    """
    root = directory.absolute()
    try:
        if root.exists() and not (root / STATE).is_file() and set(os.listdir(root)) - _OURS:
            raise SandboxError(
                f"build a sandbox in {root}: it holds something else",
                hint="Choose a new directory with --dir.",
            )
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (root / _LOCK).open("w")
    except OSError as error:
        raise SandboxError(f"build a sandbox in {root}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_state(places: Places) -> State:
    """What the sandbox remembers."""
    try:
        return msgspec.json.decode(places.state.read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError) as error:
        raise SandboxError(
            f"read {places.state}: {error}", hint="Remove the directory and build a new sandbox."
        ) from error


def write_state(places: Places, state: State) -> None:
    """Remember; the file appears whole."""
    write_private(places.state, msgspec.json.encode(state))


def with_port(state: State, part: str, port: int) -> State:
    """The state with one port noted."""
    return replace(state, ports={**state.ports, part: port})


def write_private(path: Path, content: bytes) -> None:
    """A file only its owner can read, which appears whole."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    unfinished.replace(path)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def _new_secrets() -> Secrets:
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    return Secrets(
        postgres=secrets.token_urlsafe(24),
        s3_key=secrets.token_hex(10).upper(),
        s3_secret=secrets.token_urlsafe(30),
        age_identity=str(identity),
        age_recipient=str(identity.to_public()),
    )
