"""The links of a restored data directory to its tablespaces: never to those of the source."""

import os
from collections.abc import Iterator
from pathlib import Path

from kb_dr.domain.tablespaces import LINKS, TABLESPACE_MAP, directory_of, link_to
from kb_dr.errors import RecoveryError


def require_own_tablespaces(data: Path) -> None:
    """Raise RecoveryError unless every tablespace lies in ``data``; before a server starts there.

    PostgreSQL follows the links, and makes those of a tablespace_map: a server that did so on the
    source's host would write into the live cluster.
    """
    leading = data / TABLESPACE_MAP
    # PostgreSQL sends an empty one with a cluster that has none.
    if leading.exists() and leading.stat().st_size:
        raise RecoveryError(
            f"start a server in {data}: a {TABLESPACE_MAP} leads to the source's tablespaces"
        )
    for _ in _own_links(data):
        continue


def settle_links(data: Path, target: Path) -> None:
    """Make the links in ``data`` those of ``target``, which it is about to become."""
    for link in _own_links(data):
        unfinished = link.with_name(f"{link.name}.new")
        unfinished.symlink_to(target / directory_of(int(link.name)))
        # What PostgreSQL's user owns stays so when we are root.
        seen = link.lstat()
        os.chown(unfinished, seen.st_uid, seen.st_gid, follow_symlinks=False)
        unfinished.rename(link)
        sync_directory(link.parent)


def sync_directory(path: Path) -> None:
    """Make what was renamed or made in a directory last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _own_links(data: Path) -> Iterator[Path]:
    links = data / LINKS
    for link in sorted(links.iterdir()) if links.is_dir() else ():
        known = link.name.isdecimal() and link.is_symlink()
        if not known or os.readlink(link) != link_to(int(link.name)):
            leads = f"leads to {os.readlink(link)}" if link.is_symlink() else "is no link"
            raise RecoveryError(f"use {data} as a cluster: tablespace {link.name} {leads}")
        yield link
