"""How a server that is started on unpacked files brings them safely to disk."""

import os
import re
import sys

_TELLS_ERRORS_SINCE = (5, 8)
"""The Linux whose syncfs() reports what could not be written (PostgreSQL docs,
recovery_init_sync_method)."""


def sync_settings() -> dict[str, str]:
    """Settings of a server whose files are kept.

    PostgreSQL syncs all of an unpacked backup before it replays. File by file that is a thousand
    waits; the whole file system at once is as safe where an error is told.
    """
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    kernel = (int(found[1]), int(found[2])) if found else (0, 0)
    if sys.platform == "linux" and kernel >= _TELLS_ERRORS_SINCE:
        return {"recovery_init_sync_method": "syncfs"}
    return {}
