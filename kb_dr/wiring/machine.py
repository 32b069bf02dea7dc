"""This machine: its clock, its disks, and the user that PostgreSQL's programs run as."""

from pathlib import Path
from typing import TYPE_CHECKING

from kb_dr.settings import Settings

if TYPE_CHECKING:
    from kb_dr.adapters.unprivileged import Unprivileged
    from kb_dr.domain.space import Space
    from kb_dr.ports import Clock, ScratchSpace, WholeFiles


def clock() -> "Clock":
    """The clock of this machine."""
    from kb_dr.adapters.clock import SystemClock

    return SystemClock()


def disk_space(directory: Path) -> "Space":
    """The room of the file system a directory of this machine lies on."""
    from kb_dr.adapters.disk_space import disk_space

    return disk_space(directory)


def scratch(settings: Settings) -> "ScratchSpace":
    """Where proofs restore to."""
    from kb_dr.adapters.scratch_space import LocalScratchSpace

    return LocalScratchSpace(settings.scratch_dir, unprivileged(settings))


def whole_files(settings: Settings) -> "WholeFiles":
    """Files of this machine that appear whole or not at all."""
    from kb_dr.adapters.whole_file import LocalWholeFiles

    return LocalWholeFiles(unprivileged(settings))


def unprivileged(settings: Settings) -> "Unprivileged":
    """The user of this machine that PostgreSQL's programs run as."""
    from kb_dr.adapters.unprivileged import Unprivileged

    return Unprivileged(settings.postgres_os_user)
