"""The room of the file system a directory of this machine lies on."""

import os
from pathlib import Path

from kb_dr.domain.space import Space
from kb_dr.errors import KbDrError


def disk_space(directory: Path) -> Space:
    """Of the directory, or of the nearest one above it that is there. Raises KbDrError."""
    place = directory.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        seen = os.statvfs(place)
    except OSError as error:
        raise KbDrError(
            f"look at the room of {directory}: {error.strerror}",
            hint="Run it as the user whose directory that is.",
        ) from error
    return Space(seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize)
