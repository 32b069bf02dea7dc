"""Notes on segments that were pushed ahead of their turn.

A note says which file was pushed and the digest of its bytes. It is believed for an hour, once,
for exactly that file and repository. No note, or one that cannot be read, costs a look at the
store and nothing else.

Its first lines are for the shell (push-wal.sh), which calls a segment archived without starting
Python: when it was written, the state of the segment, and of the settings the push had read: their
file, and the variables of PLACE_NAMES, none of which is a secret.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from kb_dr.ports import Clock

BELIEVED_SECONDS = 3600.0
SETTLED_SECONDS = 0.1
"""Far more than a tick of the kernel's clock for files: a write after this changes their time."""

PLACE_NAMES = (
    "HOME",
    "AWS_ACCESS_KEY_ID",
    "AWS_REGION",
    "KB_BACKUP_LOCAL_PATH",
    "KB_BACKUP_S3_BUCKET",
    "KB_DR_ORG",
    "KB_DR_REPOSITORY_ACCESS_KEY_ID",
    "KB_DR_REPOSITORY_ENDPOINT_URL",
    "KB_DR_REPOSITORY_REGION",
    "KB_DR_REPOSITORY_URL",
)
"""Variables that say where a segment is pushed to. They win over any file, so that a file that did
not change proves nothing while these may have; push-wal.sh spells them in this order."""

_PROBE_BYTES = 4096
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UPTIME = Path("/proc/uptime")
_NEVER = "- 0"


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file is written or replaced."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    """Set by the kernel at any change; nobody can set it back."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """The state of a file now; OSError when it is not there."""
        found = path.stat()
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def settled(self) -> bool:
        """Wait until a later write cannot leave the same state; False when the clock goes wrong."""
        age = time.time() - self.changed_ns / 1e9
        if 0 <= age < SETTLED_SECONDS:
            time.sleep(SETTLED_SECONDS - age)
        return age >= 0

    def __str__(self) -> str:
        """As ``TZ=UTC0 stat -c '%d %i %s %y %z'`` of GNU prints it."""
        times = f"{_printed(self.modified_ns)} {_printed(self.changed_ns)}"
        return f"{self.device} {self.inode} {self.size_bytes} {times}"


def settings_read(
    named: Path | None, environment: Mapping[str, str], directory: Path
) -> str | None:
    """What the shell compares of the settings about to be read, two lines; None: it cannot.

    ``named`` is their file, if one is; ``directory`` is where others are looked for.
    """
    if "KB_DR_CONFIG" in environment or (directory / "kb_dr.yaml").exists():
        return None
    if named is None and (directory / ".env").exists():
        return None
    place = "|".join(environment.get(name, "") for name in PLACE_NAMES)
    if not place.isprintable() or not place.isascii():
        return None
    try:
        return f"{FileState.of(named) if named else ''}\n{place}"
    except OSError:
        return None  # load_settings() says what is wrong with it


def _printed(at_ns: int) -> str:
    seconds, rest = divmod(at_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:09d} +0000"


@dataclass(frozen=True, slots=True)
class PushNote:
    """One segment that was stored and looked at."""

    key: str
    sha256: str
    state: str


class PushNotes:
    """The notes of one cluster, one small file a segment.

    ``place`` is a text that is another for another repository or cluster; without secrets.
    ``read_from`` is what settings_read() said before they were read; without it the shell believes
    no note.
    """

    def __init__(
        self, directory: Path, place: str, clock: Clock, *, read_from: str | None = None
    ) -> None:
        self._directory = directory
        self._place = place
        self._clock = clock
        self._read_from = read_from

    def exists(self, name: str) -> bool:
        """Whether a segment was pushed ahead already."""
        try:
            return (self._directory / name).stat().st_size > 0
        except OSError:
            return False

    def can_be_written(self) -> bool:
        """Whether there is a place and room for them."""
        probe = self._directory / f".probe.{os.getpid()}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe.write_bytes(bytes(_PROBE_BYTES))
            probe.unlink()
        except OSError:
            return False
        return True

    def forget_taken(self) -> None:
        """Remove what the shell has emptied, which starts no program to remove a file."""
        with suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and entry.stat().st_size == 0:
                    Path(entry.path).unlink(missing_ok=True)

    def write(self, name: str, key: str, sha256: str, state: FileState) -> None:
        """Remember a push; raises OSError."""
        note = {
            "key": key,
            "sha256": sha256,
            "place": self._place,
            "at": self._clock.now().timestamp(),
        }
        read_from = self._read_from
        moment = _NEVER if read_from is None else _moment()
        lines = (moment, str(state), "\n" if read_from is None else read_from, json.dumps(note), "")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._directory / f".{name}.{os.getpid()}"
        unfinished.write_text("\n".join(lines))
        os.replace(unfinished, self._directory / name)

    def take(self, name: str) -> PushNote | None:
        """The note on a segment, removed; None when there is none to be believed."""
        path = self._directory / name
        try:
            text = path.read_text()
            path.unlink()
            _, state, _, _, rest, _ = text.split("\n")
            note = json.loads(rest)
            age = self._clock.now().timestamp() - note["at"]
            if note["place"] != self._place or not 0 <= age <= BELIEVED_SECONDS:
                return None
            return PushNote(str(note["key"]), str(note["sha256"]), state)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _moment() -> str:
    """Start of the machine and seconds since; where there is no /proc the shell believes none."""
    try:
        return f"{_BOOT_ID.read_text().strip()} {int(float(_UPTIME.read_text().split()[0]))}"
    except (OSError, ValueError, IndexError):
        return _NEVER
