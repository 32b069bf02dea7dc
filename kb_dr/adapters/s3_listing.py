"""Listing by text on a library that lists by folder."""

from dataclasses import dataclass

_IN_KEYS = "-.0123456789=ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""Characters of keys in the order of their codes, without the slash."""


@dataclass(frozen=True, slots=True)
class ListingPlan:
    """What to ask the store for; the answer holds every key wanted, and some before them."""

    folder: str | None
    """Keys below this folder; None for all."""
    offset: str | None
    """Keys after this one; None from the first. Sorts before every key wanted."""


def listing_plan(prefix: str, start_after: str) -> ListingPlan:
    """How to reach the first key that starts with ``prefix`` without reading those before it.

    obstore takes whole folders only: ``wal/1/0000000A`` would list what is below a folder of
    that name. So the folder above is listed, from a text just before the first key wanted.
    """
    folder, slash, rest = prefix.rpartition("/")
    offset = ""
    if rest:
        before = [character for character in _IN_KEYS if character < rest[-1]]
        # A text without its last character sorts before it: enough where no character comes
        # before that one, as with the hyphen behind the name of every WAL file.
        offset = folder + slash + rest[:-1] + (before[-1] + "zzzz" if before else "")
    return ListingPlan(folder or None, max(offset, start_after) or None)
