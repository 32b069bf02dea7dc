"""Room in a place that has an end, and whether it is enough."""

from dataclasses import dataclass

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.wording import size


@dataclass(frozen=True, slots=True)
class Space:
    """The file system a repository lies on, as its user may fill it."""

    total_bytes: int
    free_bytes: int
    """What may still be written, without what is reserved for root."""

    @property
    def used_percent(self) -> float:
        """0 to 100; a place without any room is full."""
        if self.total_bytes <= 0:
            return 100.0
        return 100.0 * (1 - self.free_bytes / self.total_bytes)

    def __str__(self) -> str:
        return (
            f"{size(self.free_bytes)} of {size(self.total_bytes)} free, "
            f"{self.used_percent:.0f} % used"
        )


@dataclass(frozen=True, slots=True)
class Room:
    """Whether a copy has room, at one moment."""

    copy: str
    space: Space | None
    """None where the store has no end."""
    needed_bytes: int
    """What the next backup is expected to take: as much as the newest one."""
    warning_percent: float

    @property
    def enough(self) -> bool:
        """Whether the next backup is expected to fit."""
        return self.space is None or self.space.free_bytes >= self.needed_bytes

    @property
    def filling_up(self) -> bool:
        """Whether so much is used that somebody should know."""
        return self.space is not None and self.space.used_percent >= self.warning_percent

    @property
    def finding(self) -> Finding:
        """For people. What only fills up is said, and still good: backups go on."""
        subject = f"room in {self.copy}"
        if self.space is None:
            return Finding(subject, Outcome.NOT_APPLICABLE, "the store has no bound")
        seen = f"{self.space}; the next backup takes about {size(self.needed_bytes)}"
        if not self.enough:
            return Finding(subject, Outcome.FAILED, f"{seen}: it does not fit", _HINT)
        if self.filling_up:
            said = f"WARNING: {seen}; {self.warning_percent:.0f} % is where to act"
            return Finding(subject, Outcome.PASSED, said, _HINT)
        return Finding(subject, Outcome.PASSED, seen)


_HINT = "Make room there or move it to a larger disk; a shorter retention frees some in time."
