"""Compare the versions of extensions, which follow no common form."""

import re


def older(version: str, than: str) -> bool:
    """Whether a version is surely older: its numbers, in order, come before the other's.

    Versions without numbers (``unpackaged``) are never called older.
    """
    mine, others = (tuple(map(int, re.findall(r"\d+", each))) for each in (version, than))
    return bool(mine) and bool(others) and mine < others
