"""Put the right bytes in the place of wrong ones, when the right ones are at hand."""

from collections.abc import Callable
from dataclasses import dataclass

from kb_dr.errors import RepositoryError, RepositoryUnavailable
from kb_dr.ports import Repository


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of one object that was looked at; all empty when it is right as it stands."""

    mended: str = ""
    """What was wrong and is right now."""
    left: str = ""
    """What is wrong still, and why."""
    unchecked: bool = False
    """Nobody here can tell."""


def replace_object(
    target: Repository,
    key: str,
    wrong: str,
    source: str,
    put: Callable[[], None],
    *,
    there: bool,
) -> Mended:
    """Delete what stands there, if anything, and ``put`` what was read from ``source``.

    Call it with the right bytes read and checked. Cut off in between the object is missing,
    which it was in effect before; the next repair puts it. A store that refuses to delete (the
    object is retained, or may not be removed) is said, and not an error. Raises
    RepositoryUnavailable.
    """
    try:
        if there:
            target.delete(key)
        put()
    except RepositoryUnavailable:
        raise
    except RepositoryError as error:
        return Mended(left=f"{key}: {wrong}; it could not be replaced: {error}")
    return Mended(mended=f"{key}: {wrong}; taken from {source}")
