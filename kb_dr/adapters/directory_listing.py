"""The files of a directory tree in the order of their keys, in bounded memory."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kb_dr.adapters.repository_keys import is_key
from kb_dr.errors import RepositoryError

HELD_NAMES: Final = 100_000
"""Names of one directory held at once (some 20 MB). A directory of a million entries is read
about ten times: time is cheaper than memory here, and nothing is spilled to a disk."""


def files_in_key_order(
    root: Path, prefix: str, start_after: str, *, held_names: int = HELD_NAMES
) -> Iterator[tuple[str, os.stat_result]]:
    """Every file whose key starts with ``prefix`` and sorts after ``start_after``.

    Raises OSError when a directory cannot be read, and RepositoryError at a symbolic link: what
    lies behind it is not followed, and a listing that left it out would be taken for whole.
    """
    yield from _below(root, "", prefix, start_after, held_names)


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
        yield from batch
        if len(batch) < held_names:
            return
        last = batch[-1]


def _smallest_after(
    root: Path, folder: str, last: str, prefix: str, start_after: str, held_names: int
) -> list[str]:
    held: list[str] = []
    bound = ""
    try:
        entries = os.scandir(root / folder)
    except FileNotFoundError:
        if folder:
            return []  # purged since it was listed
        raise
    with entries:
        for entry in entries:
            if entry.is_symlink():
                _refuse_link(root, folder + entry.name, prefix, start_after)
                continue
            # The cheap questions first: a folder of a million entries is asked a million times.
            name = entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
            if name <= last or (bound and name >= bound):
                continue
            if not _may_hold(folder + name, prefix, start_after):
                continue
            # Dots are unfinished files; what is no key (lost+found) is not ours.
            if not is_key(entry.name):
                continue
            held.append(name)
            if len(held) >= 2 * held_names:
                held.sort()
                del held[held_names:]
                bound = held[-1]
    held.sort()
    return held[:held_names]


def _refuse_link(root: Path, key: str, prefix: str, start_after: str) -> None:
    """Raise if what is asked for may lie behind this link."""
    if is_key(key) and any(_may_hold(name, prefix, start_after) for name in (key, key + "/")):
        raise RepositoryError(
            f"list {root}/{key}: a symbolic link, which is never followed",
            hint="Mount the file system there instead, or remove the link.",
        )


def _may_hold(key: str, prefix: str, start_after: str) -> bool:
    """True if this file, or anything in this folder, can be asked for."""
    if not key.endswith("/"):
        return key.startswith(prefix) and key > start_after
    in_prefix = key.startswith(prefix) or prefix.startswith(key)
    return in_prefix and (key > start_after or start_after.startswith(key))
