"""Object Lock: what a bucket retains of everything that is written to it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class LockMode(StrEnum):
    """Who may end a retention early."""

    GOVERNANCE = "governance"
    """Whoever has the permission to bypass it; kb-dr never does."""
    COMPLIANCE = "compliance"
    """Nobody, not even the owner of the account."""


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """A bucket's default retention: what is written is retained so long from then on."""

    mode: LockMode
    days: int

    @property
    def span(self) -> timedelta:
        return timedelta(days=self.days)

    def covers(self, other: "ObjectLock") -> bool:
        """Whether this retains everything at least as firmly and as long as the other."""
        firm = self.mode is LockMode.COMPLIANCE or other.mode is LockMode.GOVERNANCE
        return firm and self.days >= other.days

    def or_firmer(self, other: "ObjectLock | None") -> "ObjectLock":
        """The firmer mode and the longer time of the two: nothing is ever weakened."""
        if other is None:
            return self
        firm = LockMode.COMPLIANCE in (self.mode, other.mode)
        return ObjectLock(
            LockMode.COMPLIANCE if firm else LockMode.GOVERNANCE, max(self.days, other.days)
        )

    def __str__(self) -> str:
        return f"{self.mode}, {self.days} days"
