"""The files of a directory tree in the order of their keys, in bounded memory."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kb_dr.adapters.repository_keys import is_key
from kb_dr.errors import RepositoryError

HELD_NAMES: Final = 250_000
"""Names of one directory held at once, and half as many again while it is read: some 60 MB. A
directory of a million entries is read four times: time is cheaper than memory here, and nothing
is spilled to a disk."""


def files_in_key_order(
    root: Path, prefix: str, start_after: str, *, held_names: int = HELD_NAMES
) -> Iterator[tuple[str, os.stat_result]]:
    """Every file whose key starts with ``prefix`` and sorts after ``start_after``.

    Raises OSError when a directory cannot be read, and RepositoryError at a symbolic link: what
    lies behind it is not followed, and a listing that left it out would be taken for whole.
    """
    folder, slash, _ = prefix.rpartition("/")
    if slash and not (_may_hold(folder + slash, prefix, start_after) and _leads_to(root, folder)):
        return
    yield from _below(root, folder + slash, prefix, start_after, held_names)


def _leads_to(root: Path, folder: str) -> bool:
    """Whether there is such a folder. Those above it are not read: one may hold a million names."""
    names = folder.split("/")
    if not all(is_key(name) for name in names):
        return False
    for depth in range(1, len(names) + 1):
        path = "/".join(names[:depth])
        try:
            seen = os.lstat(f"{root}/{path}")
        except FileNotFoundError:
            os.stat(root)  # where that is gone, nothing can be told
            return False
        if stat.S_ISLNK(seen.st_mode):
            raise _link(root, path)
        if not stat.S_ISDIR(seen.st_mode):
            return False
    return True


def _below(
    root: Path, folder: str, prefix: str, start_after: str, held_names: int
) -> Iterator[tuple[str, os.stat_result]]:
    for name in _names_in_order(root, folder, prefix, start_after, held_names):
        key = folder + name
        if name.endswith("/"):
            yield from _below(root, key, prefix, start_after, held_names)
            continue
        try:
            seen = os.lstat(f"{root}/{key}")
        except FileNotFoundError:
            continue  # deleted since it was listed, as S3 would have it
        if stat.S_ISREG(seen.st_mode):
            yield key, seen


def _names_in_order(
    root: Path, folder: str, prefix: str, start_after: str, held_names: int
) -> Iterator[str]:
    """Names in one directory, folders with their slash, since keys are ordered with theirs."""
    last = ""
    while batch := _smallest_after(root, folder, last, prefix, start_after, held_names):
        for name in batch:
            # Dots are unfinished files; what is no key (lost+found) is not ours.
            if is_key(name.removesuffix("/")):
                yield name
        if len(batch) < held_names:
            return
        last = batch[-1]


def _smallest_after(
    root: Path, folder: str, last: str, prefix: str, start_after: str, held_names: int
) -> list[str]:
    held: list[str] = []
    bound = ""
    # What the names in this very folder have to begin with, and to come after.
    begin = prefix[len(folder) :].partition("/")[0] if prefix.startswith(folder) else ""
    after = start_after[len(folder) :] if start_after.startswith(folder) else ""
    low = max(after.partition("/")[0], last.removesuffix("/"))
    try:
        entries = os.scandir(root / folder)
    except FileNotFoundError:
        if folder:
            return []  # purged since it was listed
        raise
    with entries:
        for entry in entries:
            # The cheap questions first: a folder of a million entries is asked a million times.
            # (What begins ``low`` is left to the exact ones: "a/" comes after "a-".)
            name = entry.name
            if name < low and not low.startswith(name):
                continue
            if bound and name >= bound:
                continue
            if begin and not name.startswith(begin):
                continue
            if entry.is_symlink():
                _refuse_link(root, folder + name, prefix, start_after)
                continue
            if entry.is_dir(follow_symlinks=False):
                name += "/"
                if not _may_hold(folder + name, prefix, start_after):
                    continue
            elif name <= after:
                continue
            if name <= last or (bound and name >= bound):
                continue
            held.append(name)
            if len(held) >= held_names + held_names // 2 + 1:
                held.sort()
                del held[held_names:]
                bound = held[-1]
    held.sort()
    return held[:held_names]


def _refuse_link(root: Path, key: str, prefix: str, start_after: str) -> None:
    """Raise if what is asked for may lie behind this link."""
    if is_key(key) and any(_may_hold(name, prefix, start_after) for name in (key, key + "/")):
        raise _link(root, key)


def _link(root: Path, key: str) -> RepositoryError:
    return RepositoryError(
        f"list {root}/{key}: a symbolic link, which is never followed",
        hint="Mount the file system there instead, or remove the link.",
    )


def _may_hold(key: str, prefix: str, start_after: str) -> bool:
    """True if this file, or anything in this folder, can be asked for."""
    if not key.endswith("/"):
        return key.startswith(prefix) and key > start_after
    in_prefix = key.startswith(prefix) or prefix.startswith(key)
    return in_prefix and (key > start_after or start_after.startswith(key))
