"""A repository in a directory: one file an object."""

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kb_dr.adapters.digests import described, require_recorded
from kb_dr.adapters.directory_listing import files_in_key_order
from kb_dr.adapters.repository_keys import checked_key
from kb_dr.domain.space import Space
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import (
    BucketMissing,
    ChecksumMismatch,
    ObjectConflict,
    ObjectMissing,
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
)

_INCOMING: Final = ".incoming"
"""Unfinished files; no key starts with a dot, so no listing shows them."""
_ABANDONED_SECONDS: Final = 24 * 3600
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE_BYTES: Final = 1 << 16
"""Below what malloc asks the kernel for anew each time: at 1 MiB a look costs six times as much."""
_WRITTEN_BYTES: Final = 1 << 18
"""At once. From 1 MiB on the kernel takes huge pages for its cache, which in a virtual machine the
host has to find first: writing then costs four times as much."""
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_AWAY: Final = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH})


class DirectoryRepository:
    """Implements `kb_dr.ports.Repository`.

    A file is written under ``.incoming``, synced, and linked to its name: a link fails when the
    name is taken, so nothing is overwritten and no part of a file is ever seen. Every directory
    is opened relative to the one above and never through a symbolic link: nothing outside the
    root is read or written. The root itself may be a link.
    """

    def __init__(self, root: Path, name: str) -> None:
        self._root = root.absolute()
        self._name = name
        self._swept = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return str(self._root)

    def create(self) -> None:
        """Make the directory if it is not there; only its owner may read it."""
        with self._said("create", ""):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def check(self) -> None:
        with self._said("check", ""), self._opened_root() as root:
            os.scandir(root.descriptor).close()

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        stored = described(checked_key(key), body, sha256=digest)
        *folders, filename = key.split("/")
        with (
            self._said("put", key),
            self._opened_root() as root,
            self._folder(root, folders, make=True) as folder,
        ):
            if not self._link_new(root, folder, filename, body):
                self._require_same(folder, filename, key, body)
        return stored

    def get(self, stored: StoredObject) -> bytes:
        body = self.read(stored.key)
        require_recorded(self._where(stored.key), stored, body)
        return body

    def read(self, key: str) -> bytes:
        *folders, filename = checked_key(key).split("/")
        with self._said("get", key), self._opened_root() as root:
            try:
                with (
                    self._folder(root, folders, make=False) as folder,
                    _opened_file(folder, filename) as file,
                ):
                    return _whole(file)
            except FileNotFoundError:
                raise ObjectMissing(f"get {self._where(key)}: no such file") from None

    def read_start(self, listed: Listed, count: int) -> bytes:
        *folders, filename = checked_key(listed.key).split("/")
        with self._said("get", listed.key), self._opened_root() as root:
            try:
                with (
                    self._folder(root, folders, make=False) as folder,
                    _opened_file(folder, filename) as file,
                ):
                    return os.pread(file.descriptor, count, 0)
            except FileNotFoundError:
                raise ObjectMissing(f"get {self._where(listed.key)}: no such file") from None

    def find(self, key: str) -> Listed | None:
        *folders, filename = checked_key(key).split("/")
        with self._said("look at", key), self._opened_root() as root:
            try:
                with (
                    self._folder(root, folders, make=False) as folder,
                    _opened_file(folder, filename) as file,
                ):
                    return _listed(key, os.fstat(file.descriptor))
            except FileNotFoundError:
                return None

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        with self._said("list", prefix):
            with self._opened_root():
                pass
            for key, seen in files_in_key_order(self._root, prefix, start_after):
                yield _listed(key, seen)

    def delete(self, key: str) -> None:
        *folders, filename = checked_key(key).split("/")
        with (
            self._said("delete", key),
            self._opened_root() as root,
            suppress(FileNotFoundError),
            self._folder(root, folders, make=False) as folder,
        ):
            os.unlink(filename, dir_fd=folder.descriptor)
            os.fsync(folder.descriptor)

    def space(self) -> Space:
        with self._said("look at the room of", ""), self._opened_root() as root:
            seen = os.fstatvfs(root.descriptor)
        return Space(seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize)

    def retained_until(self, prefix: str) -> datetime | None:
        with self._said("look at", prefix), self._opened_root():
            return None  # a directory retains nothing

    def _link_new(self, root: "_Open", folder: "_Open", filename: str, body: bytes) -> bool:
        """Put a whole, synced file under ``filename``; False when that name is taken."""
        with self._folder(root, [_INCOMING], make=True) as incoming:
            self._sweep(incoming)
            unfinished = f"{os.getpid()}-{os.urandom(8).hex()}"
            try:
                _write_synced(incoming, unfinished, body)
                try:
                    os.link(
                        unfinished,
                        filename,
                        src_dir_fd=incoming.descriptor,
                        dst_dir_fd=folder.descriptor,
                        follow_symlinks=False,
                    )
                except FileExistsError:
                    return False
                os.fsync(folder.descriptor)
                return True
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(unfinished, dir_fd=incoming.descriptor)

    def _sweep(self, incoming: "_Open") -> None:
        """Remove, once in a process, what a writer that was killed left a day ago or earlier."""
        if self._swept:
            return
        self._swept = True
        with os.scandir(incoming.descriptor) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    seen = entry.stat(follow_symlinks=False)
                    if time.time() - seen.st_mtime > _ABANDONED_SECONDS:
                        os.unlink(entry.name, dir_fd=incoming.descriptor)

    def _require_same(self, folder: "_Open", filename: str, key: str, body: bytes) -> None:
        with _opened_file(folder, filename) as file:
            if not _holds(file, body):
                raise ObjectConflict(f"put {self._where(key)}: other bytes stand there already")

    def _opened_root(self) -> "_Open":
        try:
            return _Open(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except (FileNotFoundError, NotADirectoryError):
            raise BucketMissing(f"open repository {self._root}: no such directory") from None

    def _folder(self, root: "_Open", names: Sequence[str], *, make: bool) -> "_Open":
        """The directory ``names`` below the root, made and synced on the way if ``make``."""
        here = _Open(os.dup(root.descriptor))
        try:
            for name in names:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=here.descriptor)
                        os.fsync(here.descriptor)
                below = _Open(os.open(name, _DIRECTORY, dir_fd=here.descriptor))
                here.close()
                here = below
        except BaseException:
            here.close()
            raise
        return here

    def _where(self, key: str) -> str:
        return f"{self._root}/{key}" if key else str(self._root)

    def _said(self, action: str, key: str) -> "_Translated":
        return _Translated(action, self._where(key))


class _Open:
    """One open descriptor, closed at the end of its block."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)


class _Translated:
    """Turns what the operating system says into our words; the one table of this adapter."""

    def __init__(self, action: str, where: str) -> None:
        self._what = f"{action} {where}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        said = f"{self._what}: {error.strerror or error}"
        if error.errno in _REFUSED:
            raise RepositoryRefused(
                said, hint="Check the owner and the mode of the directory."
            ) from error
        if error.errno in _AWAY:
            raise RepositoryUnavailable(said) from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise RepositoryError(
                f"{self._what}: a symbolic link or a file stands where a directory is expected",
                hint="Links inside a repository are never followed; mount the file system instead.",
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RepositoryError(said, hint="Make room there, then run it again.") from error
        raise RepositoryError(said) from error


def _opened_file(folder: _Open, filename: str) -> _Open:
    file = _Open(os.open(filename, _FILE, dir_fd=folder.descriptor))
    if not stat.S_ISREG(os.fstat(file.descriptor).st_mode):
        file.close()
        # A key that ends at a directory names no object, just as on S3.
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return file


def _write_synced(folder: _Open, filename: str, body: bytes) -> None:
    """Write and sync a new file, then look at what it holds."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _Open(os.open(filename, flags, 0o600, dir_fd=folder.descriptor)) as file:
        with memoryview(body) as rest:
            written = 0
            while written < len(rest):
                piece = rest[written : written + _WRITTEN_BYTES]
                written += os.write(file.descriptor, piece)
        os.fsync(file.descriptor)
        if not _holds(file, body):
            raise ChecksumMismatch("put a file: what was written reads back differently")


def _holds(file: _Open, body: bytes) -> bool:
    """True if the file's bytes are exactly ``body``; compared piece by piece, in little memory."""
    if os.fstat(file.descriptor).st_size != len(body):
        return False
    # Slices of bytes: one of a memoryview is compared item by item, eight times slower.
    return all(
        os.pread(file.descriptor, _PIECE_BYTES, start) == body[start : start + _PIECE_BYTES]
        for start in range(0, len(body), _PIECE_BYTES)
    )


def _whole(file: _Open) -> bytes:
    with os.fdopen(os.dup(file.descriptor), "rb", buffering=0) as reader:
        return reader.readall()


def _listed(key: str, seen: os.stat_result) -> Listed:
    return Listed(key, seen.st_size, datetime.fromtimestamp(seen.st_mtime, UTC))
