"""The journal of a replacement: lines in a file beside the target, locked while it is at work.

Only ever appended to, each line synced before what it announces is done; a line cut off by a
crash is passed over. The lock is the kernel's, which gives it up however the process ends.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from kb_dr.domain.replacement import Places, Replacement
from kb_dr.errors import RecoveryError

_BUSY = frozenset({errno.EAGAIN, errno.EACCES})


class FileJournal:
    """Implements `kb_dr.ports.ReplaceJournal`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def write(self, replacement: Replacement) -> None:
        fields = asdict(replacement)
        fields["places"] = {name: str(path) for name, path in fields["places"].items()}
        with _told(self._path):
            # Begun on a line of its own, whatever a crash left of the last one.
            os.write(self._descriptor, b"\n" + json.dumps(fields).encode() + b"\n")
            os.fsync(self._descriptor)

    def close(self, *, done: bool) -> None:
        if self._descriptor < 0:
            return
        with _told(self._path):
            if done:
                self._path.unlink(missing_ok=True)
                _sync(self._path.parent)
            os.close(self._descriptor)
            self._descriptor = -1


def begin_journal(places: Places) -> FileJournal:
    """A new, empty one; RecoveryError where another stands that is not done with."""
    path = journal_path(places.target)
    left = take_up_journal(places.target)
    if left is not None:
        journal, found = left
        journal.close(done=found.is_done)
        if not found.is_done:
            raise RecoveryError(
                f"replace {places.target}: another replacement was cut off at: {found.step} "
                f"({path})",
                hint=f"kb-dr restore --into {places.target} --roll-back --yes",
            )
    with _told(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        _lock(path, descriptor)
        _sync(path.parent)
    return FileJournal(path, descriptor)


def take_up_journal(target: Path) -> tuple[FileJournal, Replacement] | None:
    """The one a killed replacement left, and what it says."""
    path = journal_path(target)
    with _told(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        _lock(path, descriptor)
    journal = FileJournal(path, descriptor)
    found = read_journal(target)
    if found is None:
        journal.close(done=True)  # killed before its first line: nothing had been done
        return None
    return journal, found


def read_journal(target: Path) -> Replacement | None:
    """The newest whole line; None without a journal."""
    path = journal_path(target)
    with _told(path):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None
    for line in reversed(lines):
        try:
            fields = json.loads(line)
            places = Places(**{name: Path(text) for name, text in fields["places"].items()})
            found = Replacement(**fields)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        return replace(found, places=places)
    return None


def journal_path(target: Path) -> Path:
    """Where the journal of a target stands."""
    return target.with_name(f".{target.name}.kb-dr-replace.jsonl")


def _lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _BUSY:
            raise
        raise RecoveryError(
            f"lock {path}: another replacement is at work", hint="Wait for it to end."
        ) from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecoveryError(
            f"keep the journal {path}: {error.strerror or error}",
            hint="Run kb-dr as root, or as the directory's owner with a parent it may write to.",
        ) from error
