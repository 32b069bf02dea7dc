"""Refuse directories that must not be restored into, before anything is written."""

import struct
from pathlib import Path

from kb_dr.errors import (
    DataDirectoryInUse,
    DataDirectoryNotEmpty,
    NotEnoughSpace,
    RecoveryError,
    TargetIsProduction,
)
from kb_dr.ports import PostgresHost

_IDENTIFIER = struct.Struct("=Q")
"""pg_control begins with it in every version (src/include/catalog/pg_control.h)."""


def check_target(target: Path, *, system_identifier: int, production: Path | None) -> None:
    """Return when ``target`` is a new or an empty directory, and no place of production's.

    ``production`` is the data directory of the protected cluster, when it lies on this machine.
    Raises TargetIsProduction, DataDirectoryInUse, DataDirectoryNotEmpty or RecoveryError.
    """
    target = target.absolute()
    try:
        _refuse_production(target, production)
        refuse_inside_a_cluster(target)
        if target.is_symlink():
            raise RecoveryError(
                f"restore into {target}: it is a symbolic link",
                hint="Name the directory itself.",
            )
        if not target.exists():
            _refuse_no_directory(target)
            return
        if not target.is_dir():
            raise DataDirectoryNotEmpty(f"restore into {target}: it is no directory")
        if identifier_in(target) == system_identifier:
            raise TargetIsProduction(
                f"restore into {target}: it holds the cluster the backup was taken from "
                f"(system identifier {system_identifier})",
                hint="Restore into a new directory, look at it, then switch over to it.",
            )
        if (target / "postmaster.pid").exists():
            raise DataDirectoryInUse(
                f"restore into {target}: a server runs there, or died there (postmaster.pid)",
                hint="Choose a new directory.",
            )
        if any(target.iterdir()):
            raise DataDirectoryNotEmpty(f"restore into {target}: it is not empty")
        if target.is_mount():
            raise RecoveryError(
                f"restore into {target}: it is a mount point, which nothing can be renamed to",
                hint="Name a new directory inside it.",
            )
    except OSError as error:
        raise RecoveryError(
            f"restore into {target}: {error.strerror}",
            hint="Choose a new directory whose parent you may write to.",
        ) from error


def check_space(target: Path, needed: int, host: PostgresHost) -> int:
    """The room there is; NotEnoughSpace when it is less than ``needed`` bytes."""
    free = host.free_bytes(target)
    if free < needed:
        raise NotEnoughSpace(
            f"restore into {target}: {free} bytes free, expected at least {needed}",
            hint="Make room, or choose a directory on another file system.",
        )
    return free


def _refuse_production(target: Path, production: Path | None) -> None:
    if production is None:
        return
    here, there = target.resolve(), production.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise TargetIsProduction(
            f"restore into {target}: the protected cluster lies at {production}",
            hint="Choose a directory outside it.",
        )


def refuse_inside_a_cluster(target: Path) -> None:
    """Raise DataDirectoryInUse for a place below the data directory of a cluster."""
    for parent in target.resolve().parents:
        if (parent / "global" / "pg_control").exists():
            raise DataDirectoryInUse(
                f"restore into {target}: {parent} is the data directory of a cluster",
                hint="Choose a directory outside it.",
            )


def _refuse_no_directory(target: Path) -> None:
    """Refuse a place below a file."""
    parent = next(each for each in target.parents if each.exists())
    if not parent.is_dir():
        raise RecoveryError(
            f"restore into {target}: {parent} is no directory", hint="Choose a new directory."
        )


def identifier_in(directory: Path) -> int | None:
    """The system identifier of the cluster in a directory; None when there is none to read."""
    try:
        with (directory / "global" / "pg_control").open("rb") as control:
            head = control.read(_IDENTIFIER.size)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return int(_IDENTIFIER.unpack(head)[0]) if len(head) == _IDENTIFIER.size else None
