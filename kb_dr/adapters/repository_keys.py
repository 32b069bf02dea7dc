"""Which texts are keys: the same rule for every repository."""

import re

from kb_dr.errors import RepositoryError

_SEGMENT = re.compile(r"[A-Za-z0-9_=][A-Za-z0-9._=-]*\Z")
_LONGEST_SEGMENT = 240
"""Bytes; file systems allow 255 in one name."""
_LONGEST_KEY = 900
"""Bytes; S3 allows 1024 with the prefix of the repository."""


def is_key(text: str) -> bool:
    """True for segments of plain ASCII letters, digits and ``._=-``, joined by single slashes.

    A leading dot is refused, so that ``..`` cannot leave a repository and a directory has room
    for its unfinished files.
    """
    return len(text) <= _LONGEST_KEY and all(
        len(segment) <= _LONGEST_SEGMENT and _SEGMENT.match(segment) for segment in text.split("/")
    )


def checked_key(text: str) -> str:
    """The key itself; raises RepositoryError when ``text`` cannot be a key."""
    if not is_key(text):
        raise RepositoryError(
            f"use key {text[:200]!r}: not a key of a repository",
            hint="Keys are made of letters, digits and ._=- in segments joined by slashes.",
        )
    return text
