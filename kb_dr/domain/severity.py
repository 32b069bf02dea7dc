"""How bad it is: what decides who is told, and how loudly."""

from enum import StrEnum


class Severity(StrEnum):
    """Of an alert, and of a check that says no."""

    CRITICAL = "critical"
    """Recoverability is lost, or nobody knows: somebody has to act now, at any hour."""
    WARNING = "warning"
    """It will be lost if nobody acts: somebody has to act today."""
    INFO = "info"
    """Nobody has to act."""

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return _RANKS[self]


_RANKS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
