"""Notes on segments that were pushed ahead of their turn.

A note says which file was pushed (its size, inode and time of change) and the digest of its
bytes. It is believed for an hour, once, for exactly that file and repository. No note, or one that
cannot be read, costs a look at the store and nothing else.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from kb_dr.ports import Clock

BELIEVED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file is written or replaced."""

    size_bytes: int
    inode: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The state of a file now; OSError when it is not there."""
        found = path.stat()
        return cls(found.st_size, found.st_ino, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class PushNote:
    """One segment that was stored and looked at."""

    key: str
    sha256: str
    state: FileState


class PushNotes:
    """The notes of one cluster, one small file a segment.

    ``repository`` is a text that is another for another repository; without secrets.
    """

    def __init__(self, directory: Path, repository: str, clock: Clock) -> None:
        self._directory = directory
        self._repository = repository
        self._clock = clock

    def exists(self, name: str) -> bool:
        """Whether a segment was pushed ahead already."""
        return (self._directory / name).exists()

    def write(self, name: str, key: str, sha256: str, state: FileState) -> None:
        """Remember a push; raises OSError."""
        note = {
            "key": key,
            "sha256": sha256,
            "state": asdict(state),
            "repository": self._repository,
            "at": self._clock.now().timestamp(),
        }
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._directory / f".{name}.{os.getpid()}"
        unfinished.write_text(json.dumps(note))
        os.replace(unfinished, self._directory / name)

    def take(self, name: str) -> PushNote | None:
        """The note on a segment, removed; None when there is none to be believed."""
        path = self._directory / name
        try:
            text = path.read_text()
            path.unlink()
            note = json.loads(text)
            age = self._clock.now().timestamp() - note["at"]
            if note["repository"] != self._repository or not 0 <= age <= BELIEVED_SECONDS:
                return None
            state = FileState(**note["state"])
            return PushNote(str(note["key"]), str(note["sha256"]), state)
        except (OSError, ValueError, KeyError, TypeError):
            return None
