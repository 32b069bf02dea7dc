"""Files that appear whole or not at all, also when the disk fills or their writer is killed."""

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from kb_dr.adapters.disk_space import disk_space
from kb_dr.adapters.tablespace_links import sync_directory
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.wording import size
from kb_dr.errors import ConfigurationError, KbDrError, NotEnoughSpace

_PARTIAL = re.compile(r"\.(?P<name>.+)\.kb-dr-unfinished-[0-9a-f]{12}")
_LOCK = "owner.lock"
_BEING_MADE_SECONDS = 60.0
"""A directory without a lock may be one that is just being made."""
_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})
"""What a file system, or an old kernel, says to O_TMPFILE that it does not know."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class LocalWholeFiles:
    """Implements `kb_dr.ports.WholeFiles`.

    A file has no name at all until it is whole (O_TMPFILE): a kill leaves nothing of it. Where the
    file system has no such files, and for directories, there is a hidden name beside, locked with
    flock by its writer: the kernel gives the lock up when that process ends, however it ends.
    """

    def __init__(self, unprivileged: Unprivileged | None = None, *, nameless: bool = True) -> None:
        self._unprivileged = unprivileged or Unprivileged()
        self._nameless = nameless
        """Whether files without a name may be tried; for tests of what is done without them."""

    def make_directory(self, directory: Path) -> None:
        with _told("make", directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def free_bytes(self, directory: Path) -> int:
        return disk_space(directory).free_bytes

    @contextmanager
    def new_file(self, path: Path) -> "Iterator[_File]":
        path = path.absolute()
        with _told("write", path):
            _refuse_taken(path)
            _reap(path.parent)
            file = self._open(path)
        try:
            yield file
        except BaseException:
            file.withdraw()
            raise
        finally:
            file.close()

    @contextmanager
    def new_directory(self, path: Path) -> "Iterator[_Directory]":
        path = path.absolute()
        made = _Directory(path, _hidden(path))
        with ExitStack() as stack:
            with _told("write", path):
                _refuse_taken(path)
                _reap(path.parent)
                stack.callback(_remove_tree, made.hidden)
                made.hidden.mkdir(mode=0o700)
                stack.callback(os.close, _locked(made.hidden / _LOCK))
                self._unprivileged.give(made.hidden)
            try:
                yield made
            except BaseException:
                made.withdraw()
                raise

    def _open(self, path: Path) -> "_File":
        if self._nameless and Path("/proc/self/fd").is_dir():
            try:
                flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
                return _File(path, os.open(path.parent, flags, 0o600), None)
            except OSError as error:
                if error.errno not in _NO_TMPFILE or not path.parent.is_dir():
                    raise
        hidden = _hidden(path)
        return _File(path, _locked(hidden), hidden)


class _File:
    """Implements `kb_dr.ports.NewFile`."""

    def __init__(self, path: Path, descriptor: int, hidden: Path | None) -> None:
        self._path = path
        self._descriptor = descriptor
        self._hidden = hidden
        self._appeared = False

    def write(self, data: bytes, /) -> int:
        with _told("write", self._path), memoryview(data) as rest:
            written = 0
            while written < len(rest):
                written += os.write(self._descriptor, rest[written:])
        return len(data)

    def flush(self) -> None:
        """Nothing: appear() brings all of it to the disk."""

    def appear(self) -> None:
        with _told("write", self._path):
            os.fsync(self._descriptor)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # A directory is named, so that Python calls linkat(): link() would link to the
                # symbolic link in /proc, and not to the file.
                seen = self._hidden or Path(f"/proc/self/fd/{self._descriptor}")
                os.link(seen, self._path.name, dst_dir_fd=folder, follow_symlinks=True)
                self._appeared = True
                os.fsync(folder)
            except FileExistsError as error:
                raise _taken(self._path) from error
            finally:
                os.close(folder)

    def withdraw(self) -> None:
        if self._appeared:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)
        os.close(self._descriptor)


class _Directory:
    """Implements `kb_dr.ports.NewDirectory`."""

    def __init__(self, path: Path, hidden: Path) -> None:
        self.hidden = hidden
        self._path = path
        self._appeared = False

    @property
    def inside(self) -> Path:
        return self.hidden / self._path.name

    def appear(self) -> None:
        with _told("write", self._path):
            for folder, _, files in os.walk(self.inside):
                for name in files:
                    _sync(Path(folder, name))
                sync_directory(Path(folder))
            self.inside.chmod(0o700)
            _refuse_taken(self._path)
            try:
                self.inside.rename(self._path)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise _taken(self._path) from error
                raise
            self._appeared = True
            sync_directory(self._path.parent)

    def withdraw(self) -> None:
        if self._appeared:
            _remove_tree(self._path)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.kb-dr-unfinished-{secrets.token_hex(6)}")


def _locked(path: Path) -> int:
    """A new file, locked until it is closed or this process ends."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)  # taken for a dead one's, and removed, before it was locked


def _reap(directory: Path) -> None:
    """Remove what writers that were killed have left in a directory."""
    for entry in sorted(directory.iterdir()):
        if _PARTIAL.fullmatch(entry.name) is None or entry.is_symlink():
            continue
        with suppress(FileNotFoundError):  # another process has just removed it
            if not entry.is_dir():
                _remove_if_dead(entry, entry)
            elif (entry / _LOCK).exists():
                _remove_if_dead(entry, entry / _LOCK)
            elif time.time() - entry.stat().st_mtime > _BEING_MADE_SECONDS:
                _remove_tree(entry)


def _remove_if_dead(entry: Path, lock: Path) -> None:
    descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if entry.is_dir():
            _remove_tree(entry)
        else:
            entry.unlink()
    except BlockingIOError:
        return  # its writer lives
    finally:
        os.close(descriptor)


def _remove_tree(root: Path) -> None:
    """All of it, its lock last: until then nobody takes the rest for one being made."""
    for entry in root.iterdir() if root.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != _LOCK:
            entry.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"write {path}: it is there already", hint="Nothing is overwritten: choose another name."
    )


@contextmanager
def _told(action: str, path: Path) -> Iterator[None]:
    """Our words for what the operating system says."""
    try:
        yield
    except OSError as error:
        _say(action, path, error)


def _say(action: str, path: Path, error: OSError) -> NoReturn:
    if error.errno in _FULL:
        free = size(disk_space(path.parent).free_bytes)
        raise NotEnoughSpace(
            f"{action} {path}: {error.strerror}, {free} free there",
            hint="Nothing of it was left. Make room, or choose a directory on another file system.",
        ) from error
    raise KbDrError(
        f"{action} {path}: {error.strerror or error}",
        hint="Choose a directory that is there and that you may write to. Nothing was left in it.",
    ) from error
