"""Private work areas of restores, and the end of those whose restore was killed."""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kb_dr.adapters.stray_server import end_server_in
from kb_dr.adapters.tablespace_links import settle_links, sync_directory
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.recovery import WorkArea
from kb_dr.errors import (
    ConfigurationError,
    DataDirectoryNotEmpty,
    NotEnoughSpace,
    RecoveryError,
)

_OWNER = "owner.json"
_AREA = "kb-dr-scratch-"
"""Every area's name begins so. A scratch directory may hold other things as well (somebody points
the setting at a large file system), and those are never ours to remove."""
_NOTE = "kb-dr-scratch-elsewhere-"
"""A small file in the scratch directory that names an area beside some restore's target."""
_PARTIAL = ".kb-dr-partial-"
_PARTIAL_NAME = re.compile(r"\..+\.kb-dr-partial-[0-9a-f]{12}")
_BEING_MADE_SECONDS = 60.0
"""A directory without an owner's file may be one that is just being made."""


class LocalScratchSpace:
    """Implements `kb_dr.ports.ScratchSpace`.

    Each area is locked by its owner with flock, which the kernel gives up when that process
    ends, however it ends: an area that can be locked has no owner. Nothing can mistake a new
    process of the same number for the owner.
    """

    def __init__(self, directory: Path, unprivileged: Unprivileged | None = None) -> None:
        self._directory = directory.absolute()
        self._unprivileged = unprivileged or Unprivileged()

    @contextmanager
    def area(self, purpose: str) -> Iterator[WorkArea]:
        self._prepare()
        self.reap()
        root = self._directory / f"{_AREA}{purpose}-{secrets.token_hex(6)}"
        with self._owned(root, purpose) as area:
            yield area

    @contextmanager
    def beside(self, target: Path) -> Iterator[WorkArea]:
        target = target.absolute()
        stem = f".{target.name}{_PARTIAL}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for left in _directories(target.parent, stem):
                if _is_partial(left):
                    _remove_if_dead(left)
            root = target.parent / f"{stem}{secrets.token_hex(6)}"
            with self._owned(root, "restore") as area, self._noted(root):
                yield area
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (NotEnoughSpace if full else RecoveryError)(
                f"restore into {target}: {error.strerror or error}",
                hint="Choose a directory with room, whose parent you may write to.",
            ) from error

    def put_in_place(self, area: WorkArea, target: Path, *, known_as: Path | None = None) -> None:
        try:
            settle_links(area.data, known_as or target)
            os.rename(area.data, target)
        except OSError as error:
            if error.errno in _TAKEN:
                raise _appeared(target) from error
            raise RecoveryError(f"rename into {target}: {error.strerror}") from error
        sync_directory(target)
        sync_directory(target.parent)

    def reap(self) -> tuple[str, ...]:
        if not self._directory.is_dir():
            return ()
        self._check_owner()
        left = [each for each in _directories(self._directory, _AREA) if _remove_if_dead(each)]
        return tuple(str(each) for each in (*left, *self._reap_elsewhere()))

    @contextmanager
    def _noted(self, root: Path) -> Iterator[None]:
        """Leave word of an area that lies elsewhere, so that reap() finds it when we are killed."""
        note = self._directory / f"{_NOTE}{secrets.token_hex(6)}.json"
        try:
            self._prepare()
            note.write_text(json.dumps({"root": str(root)}))
        except (OSError, ConfigurationError):
            # A restore needs no scratch directory; the next one into this target cleans up, too.
            yield
            return
        try:
            yield
        finally:
            note.unlink(missing_ok=True)

    def _reap_elsewhere(self) -> list[Path]:
        removed = []
        for note in sorted(self._directory.glob(f"{_NOTE}*.json")):
            try:
                root = Path(json.loads(note.read_text())["root"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # it is just being written, or has just been taken away
            if root.is_dir() and not root.is_symlink() and _is_partial(root):
                if not _remove_if_dead(root):
                    continue
                removed.append(root)
            note.unlink(missing_ok=True)
        return removed

    def _prepare(self) -> None:
        # Who runs PostgreSQL for us must get through, but see nothing.
        mode = 0o711 if os.geteuid() == 0 and self._unprivileged.os_user else 0o700
        try:
            self._directory.mkdir(mode=mode, parents=True, exist_ok=True)
            self._check_owner()
            if all(each.name.startswith(_AREA) for each in self._directory.iterdir()):
                self._directory.chmod(mode)  # else it is not ours alone
        except OSError as error:
            raise ConfigurationError(
                f"use scratch directory {self._directory}: {error.strerror}",
                hint="Point KB_DR_SCRATCH_DIR at a directory you may write to.",
            ) from error

    def _check_owner(self) -> None:
        seen = self._directory.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
            raise ConfigurationError(
                f"use scratch directory {self._directory}: a link, no directory, or of another "
                "user",
                hint="Point KB_DR_SCRATCH_DIR at a directory of your own.",
            )

    @contextmanager
    def _owned(self, root: Path, purpose: str) -> Iterator[WorkArea]:
        area = WorkArea(root, Path(tempfile.gettempdir()) / f"kb-dr-{secrets.token_hex(4)}")
        if len(str(area.sockets)) > 80:
            area = WorkArea(root, Path("/tmp") / area.sockets.name)  # noqa: S108 - 0700 below
        root.mkdir(mode=0o700)
        try:
            with (root / _OWNER).open("x") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX)
                owner.write(
                    json.dumps(
                        {"purpose": purpose, "pid": os.getpid(), "sockets": str(area.sockets)}
                    )
                )
                owner.flush()
                try:
                    area.sockets.mkdir(mode=0o700)
                    for made in (root, area.sockets):
                        self._unprivileged.give(made)
                    yield area
                finally:
                    _remove(root, area.sockets)
        finally:
            shutil.rmtree(root, ignore_errors=True)


_TAKEN = frozenset({errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY})


def _appeared(target: Path) -> DataDirectoryNotEmpty:
    return DataDirectoryNotEmpty(f"rename into {target}: something has appeared there")


def _directories(parent: Path, stem: str) -> list[Path]:
    return [
        path
        for path in sorted(parent.iterdir())
        if path.name.startswith(stem) and path.is_dir() and not path.is_symlink()
    ]


def _is_partial(root: Path) -> bool:
    """Whether a directory outside the scratch directory is an area of ours: a name alone, among
    other people's files, is not enough, unless there is nothing in it.
    """
    if _PARTIAL_NAME.fullmatch(root.name) is None:
        return False
    return (root / _OWNER).is_file() or not any(root.iterdir())


def _remove_if_dead(root: Path) -> bool:
    """Remove an area whose owner is gone; True if it was."""
    try:
        owner = (root / _OWNER).open("r+")
    except FileNotFoundError:
        try:
            age = time.time() - root.stat().st_mtime
        except FileNotFoundError:
            return False  # another process has just removed it
        if age < _BEING_MADE_SECONDS:
            return False
        shutil.rmtree(root, ignore_errors=True)
        return not root.exists()
    with owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # its owner lives
        sockets: Path | None = None
        with suppress(ValueError, KeyError, TypeError):
            # Cut short when its owner died while writing: then there are no sockets yet.
            sockets = Path(json.load(owner)["sockets"])
        _remove(root, sockets)
    return not root.exists()


def _remove(root: Path, sockets: Path | None) -> None:
    end_server_in(root / "data")
    if sockets is not None and sockets.name.startswith("kb-dr-"):
        shutil.rmtree(sockets, ignore_errors=True)
    # The owner's file last: until then nobody takes what is left for an area being made.
    for entry in root.iterdir() if root.is_dir() else ():
        if entry.name == _OWNER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
