"""The journal of a replacement: lines in a file beside the target, locked while it is at work.

Only ever appended to, each line synced before what it announces is done; a line cut off by a
crash is passed over. The lock is the kernel's, which gives it up however the process ends.
"""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from kb_dr.domain.replacement import Places, Replacement
from kb_dr.errors import RecoveryError

_STAMP = re.compile(r"\d{8}-\d{6}")
_BUSY = frozenset({errno.EAGAIN, errno.EACCES})


class FileJournal:
    """Implements `kb_dr.ports.ReplaceJournal`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def write(self, replacement: Replacement) -> None:
        fields = asdict(replacement)
        fields["places"] = {name: str(path) for name, path in fields["places"].items()}
        # Begun on a line of its own, whatever a crash left of the last one.
        left = b"\n" + json.dumps(fields).encode() + b"\n"
        with _told(self._path):
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)

    def close(self, *, done: bool) -> None:
        if self._descriptor < 0:
            return
        with _told(self._path):
            if done and _is_at(self._path, self._descriptor):
                self._path.unlink()
                _sync(self._path.parent)
            os.close(self._descriptor)
            self._descriptor = -1


def begin_journal(places: Places) -> FileJournal:
    """A new, empty one; RecoveryError where another stands that is not done with."""
    path = journal_path(places.target)
    descriptor = _locked(path, os.O_CREAT)
    journal = FileJournal(path, descriptor)
    found = read_journal(places.target)
    if found is not None and not found.is_done:
        journal.close(done=False)
        raise RecoveryError(
            f"replace {places.target}: another replacement was cut off at: {found.step} ({path})",
            hint=f"kb-dr restore --into {places.target} --roll-back --yes",
        )
    with _told(path):
        os.ftruncate(descriptor, 0)
        _sync(path.parent)
    return journal


def take_up_journal(target: Path) -> tuple[FileJournal, Replacement] | None:
    """The one a killed replacement left, and what it says.

    RecoveryError when it names other places than those beside ``target``: it is followed as root.
    """
    path = journal_path(target)
    try:
        descriptor = _locked(path, 0)
    except FileNotFoundError:
        return None
    journal = FileJournal(path, descriptor)
    found = read_journal(target)
    if found is None:
        journal.close(done=True)  # killed before its first line: nothing had been done
        return None
    stamp = found.places.aside.name.removeprefix(f"{target.name}.before-")
    beside = Places.beside(found.places.target, stamp)
    is_ours = _STAMP.fullmatch(stamp) and found.places == beside
    if not is_ours or found.places.target.resolve() != target.resolve():
        journal.close(done=False)
        raise RecoveryError(
            f"take up {path}: it names {found.places.target} and {found.places.aside}, expected "
            f"names beside {target}",
            hint="Nothing was done. Who wrote it? Look at the directories, and bring the old one "
            "back by hand.",
        )
    return journal, replace(found, places=Places.beside(target, stamp))


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


def _locked(path: Path, create: int) -> int:
    """Open and lock it; FileNotFoundError where there is none, and none is to be made.

    Whoever held the lock before may have removed the file since it was opened: then once more.
    """
    while True:
        with _told(path, but=(FileNotFoundError,)):
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | create, 0o600)
            _lock(path, descriptor)
            if _is_at(path, descriptor):
                return descriptor
            os.close(descriptor)


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


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that stands under this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path, *, but: tuple[type[OSError], ...] = ()) -> Iterator[None]:
    try:
        yield
    except but:
        raise
    except OSError as error:
        raise RecoveryError(
            f"keep the journal {path}: {error.strerror or error}",
            hint="Run kb-dr as root, or as the directory's owner with a parent it may write to.",
        ) from error
