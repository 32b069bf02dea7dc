"""Pipes to and from programs: wide, and written to the last byte."""

import fcntl
import os

_PIPE_BYTES = 1 << 20


def widen(descriptor: int) -> None:
    """Give a pipe room for a MiB, where that can be had: fewer switches between its ends."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError:
            return  # the limit for pipes of this user is used up: slower, no worse


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, whatever the kernel takes at once."""
    with memoryview(data) as rest:
        done = 0
        while done < len(rest):
            done += os.write(descriptor, rest[done:])
