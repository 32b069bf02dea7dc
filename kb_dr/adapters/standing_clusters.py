"""Data directories under their final names: looked at, renamed, given owner and configuration."""

import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from kb_dr.adapters.replace_journal import (
    FileJournal,
    begin_journal,
    read_journal,
    take_up_journal,
)
from kb_dr.domain.replacement import Places, Replacement, ServerState, StandingCluster
from kb_dr.errors import RecoveryError

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")
"""How it writes blanks and the like."""
_AUTO = "postgresql.auto.conf"
_KEPT_ENDINGS = (".conf", ".crt", ".key", ".pem", ".crl")
"""What this host runs with: ports, paths, who may connect, certificates."""
_KEPT_DIRECTORIES = ("conf.d",)
_PROGRAMS = ("postgres", "postmaster")


class LocalStandingClusters:
    """Implements `kb_dr.ports.StandingClusters`."""

    def look_at(self, directory: Path) -> StandingCluster:
        with _told(f"look at {directory}"):
            links = directory / "pg_tblspc"
            return StandingCluster(
                server=self.server_of(directory),
                is_standby=(directory / "standby.signal").exists(),
                tablespaces=tuple(sorted(e.name for e in links.iterdir()))
                if links.is_dir()
                else (),
                linked_wal=(directory / "pg_wal").is_symlink(),
                archive_mode=_archive_mode(directory / _AUTO),
            )

    def server_of(self, directory: Path) -> ServerState:
        """A process works there when its working directory *is* that directory, by device and
        inode: so it is found also where a container knows the directory by another name.
        """
        with _told(f"look for a server in {directory}"):
            if not directory.is_dir():
                return ServerState.STOPPED
            here = directory.stat()
            hidden = False
            for process in psutil.process_iter(["name", "uids"]):
                if not str(process.info["name"]).startswith(_PROGRAMS):
                    continue
                try:
                    seen = os.stat(f"/proc/{process.pid}/cwd")
                except PermissionError:
                    # PostgreSQL works only in a directory its own user owns.
                    uids = process.info["uids"]
                    hidden = hidden or uids is None or uids.effective == here.st_uid
                    continue
                except OSError:
                    continue  # it ended in between
                if (seen.st_dev, seen.st_ino) == (here.st_dev, here.st_ino):
                    return ServerState.RUNNING
            if not (directory / "postmaster.pid").exists():
                return ServerState.STOPPED
            return ServerState.UNKNOWN if hidden else ServerState.STALE

    def check_replaceable(self, directory: Path) -> None:
        parent = directory.parent
        with _told(f"replace {directory}"):
            seen, above = directory.stat(), parent.stat()
            # A bind mount from the same file system is known by this list alone.
            mounted = _mounts_in(directory)
            if mounted or seen.st_dev != above.st_dev:
                where = mounted[0] if mounted else directory
                what = "it" if where == directory.resolve() or not mounted else f"{where}, in it,"
                raise RecoveryError(
                    f"replace {directory}: {what} is a mount point, which cannot be renamed",
                    hint="Keep the data directory one level below the mount point, and all of it "
                    "on one file system, and name that.",
                )
            if not os.access(parent, os.W_OK | os.X_OK):
                raise RecoveryError(
                    f"replace {directory}: {parent} is closed to us, so nothing in it can be "
                    "renamed",
                    hint="Run kb-dr as root, or as the directory's owner with a parent of its own.",
                )
            if os.geteuid() not in (0, seen.st_uid):
                raise RecoveryError(
                    f"replace {directory}: it belongs to user {seen.st_uid}, and we are "
                    f"{os.geteuid()}: the restored one could not be given to that user",
                    hint="Run kb-dr as root, or as the directory's owner.",
                )

    def inherit(self, old: Path, new: Path, lines: Sequence[str]) -> None:
        with _told(f"give {new} what {old} has"):
            _end_with(old / _AUTO, new / _AUTO, lines)
            _give(new, old.stat())
            for entry in sorted(old.iterdir()):
                if entry.name == _AUTO:
                    continue
                is_file = entry.is_symlink() or entry.is_file()
                if is_file and entry.suffix in _KEPT_ENDINGS:
                    _copy_file(entry, new / entry.name)
                elif entry.name in _KEPT_DIRECTORIES and entry.is_dir():
                    _copy_directory(entry, new / entry.name)
            _sync(new)

    def rename(self, old: Path, new: Path) -> None:
        with _told(f"rename {old} to {new}"):
            if os.path.lexists(new):
                raise RecoveryError(f"rename {old} to {new}: something stands there already")
            os.rename(old, new)
            _sync(new.parent)

    def stands(self, directory: Path) -> bool:
        return os.path.lexists(directory)

    def inode(self, directory: Path) -> int:
        with _told(f"look at {directory}"):
            try:
                return directory.lstat().st_ino
            except FileNotFoundError:
                return 0

    def open_journal(self, places: Places) -> FileJournal:
        return begin_journal(places)

    def resume_journal(self, target: Path) -> tuple[FileJournal, Replacement] | None:
        return take_up_journal(target)

    def unfinished(self, target: Path) -> Replacement | None:
        found = read_journal(target)
        return None if found is None or found.is_done else found


def _mounts_in(directory: Path) -> list[Path]:
    """Mount points at or below a directory; a path is the fifth field, see proc(5)."""
    inside = directory.resolve()
    lines = _MOUNTS.read_bytes().splitlines()
    points = [Path(os.fsdecode(_OCTAL.sub(_octet, line.split(b" ")[4]))) for line in lines]
    return [each for each in points if each.is_relative_to(inside)]


def _octet(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])


def _archive_mode(auto: Path) -> str | None:
    """The last value in the file, which is the one that counts."""
    found = None
    for line in auto.read_text(errors="replace").splitlines() if auto.is_file() else ():
        name, equals, value = line.partition("=")
        if equals and name.strip() == "archive_mode":
            found = value.strip().strip("'")
    return found


def _end_with(old: Path, new: Path, lines: Sequence[str]) -> None:
    source = old if old.is_file() else new
    text = source.read_text(errors="surrogateescape") if source.is_file() else ""
    kept = [line for line in text.splitlines() if not line.strip().startswith("archive_mode")]
    body = "".join(f"{line}\n" for line in (*kept, *lines))
    with new.open("w", errors="surrogateescape") as stream:
        stream.write(body)
        stream.flush()
        os.fsync(stream.fileno())
    new.chmod(0o600)


def _copy_file(old: str | Path, new: str | Path) -> None:
    """With owner and mode: PostgreSQL refuses a key that others than its owner may read, unless
    root owns it.
    """
    new = Path(new)
    _clear(new)
    shutil.copy2(old, new, follow_symlinks=False)
    _own(Path(old), new)
    if not new.is_symlink():
        with new.open("rb") as copied:
            os.fsync(copied.fileno())


def _copy_directory(old: Path, new: Path) -> None:
    _clear(new)
    shutil.copytree(old, new, symlinks=True, copy_function=_copy_file)
    for root, _, _ in os.walk(old):
        _own(Path(root), new / Path(root).relative_to(old))


def _own(old: Path, new: Path) -> None:
    """Give it the owner; where only root may, it is ours, and closed to others."""
    like = old.lstat()
    if os.geteuid() == 0:
        os.chown(new, like.st_uid, like.st_gid, follow_symlinks=False)
    elif like.st_uid != os.geteuid() and not new.is_symlink():
        new.chmod(stat.S_IMODE(like.st_mode) & stat.S_IRWXU)
        return
    if not new.is_symlink():
        new.chmod(stat.S_IMODE(like.st_mode))  # a change of owner may have cleared bits of it


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _give(directory: Path, like: os.stat_result) -> None:
    """Owner and mode of the whole tree; links themselves, never what they lead to."""
    directory.chmod(stat.S_IMODE(like.st_mode))
    if os.geteuid() != 0:
        return
    os.chown(directory, like.st_uid, like.st_gid)
    for root, folders, files in os.walk(directory):
        for name in (*folders, *files):
            os.chown(Path(root) / name, like.st_uid, like.st_gid, follow_symlinks=False)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecoveryError(
            f"{what}: {error.strerror or error}",
            hint="Run kb-dr as root, or as the directory's owner with a parent it may write to.",
        ) from error
