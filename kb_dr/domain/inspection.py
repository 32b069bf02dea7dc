"""What looking at a restored server yields, before anybody judges it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Examined:
    """One kind of look at every object of that kind, in every database."""

    objects: int
    """How many were looked at."""
    damage: tuple[str, ...] = ()
    """What is broken, one line each."""
    unseen: tuple[str, ...] = ()
    """What could not be looked at though the tool is at hand, and why."""
    lacking: tuple[str, ...] = ()
    """What is not installed on this host and would be needed to look."""
