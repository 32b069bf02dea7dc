"""Directories whose content ext4 lays far from that of their neighbours.

An ext4 without a journal, as small virtual machines have it, hands out no inode again within a
minute of its removal, and looks through all those removed before it finds another. Tests remove a
thousand files with each cluster: next to them, each new file cost a millisecond of system time.
"""

import array
import fcntl
import os
from contextlib import suppress
from pathlib import Path

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_TOP_OF_HIERARCHIES = 0x00020000
"""What `chattr +T` sets."""


def spread(directory: Path) -> Path:
    """Make ``directory``, and have what is made in it laid each into a part of the disk of its own.

    Changes nothing but where; does nothing on a file system that knows no such thing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            flags = array.array("l", [0])
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            flags[0] |= _TOP_OF_HIERARCHIES
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    finally:
        os.close(descriptor)
    return directory
