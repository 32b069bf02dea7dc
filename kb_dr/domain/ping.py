"""Pings to a dead man's switch, and when one may say that all is well."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

WORKS = ("backup", "increment", "dump", "copy", "wal", "verify", "drill", "retention", "watch")
"""What a dead man's switch can be told of: one address each."""


class Signal(StrEnum):
    """What is told. The values are what healthchecks.io appends to an address."""

    START = "start"
    SUCCESS = ""
    FAIL = "fail"
    LOG = "log"
    """Neither well nor not: the switch goes on waiting."""


@dataclass(frozen=True, slots=True)
class PingRound:
    """How far the parts of one work have come: its copies, each done by a run of its own.

    One address stands for all of them. Were each part that succeeds a success, the copy that
    works would hide the copy that does not.
    """

    run: str
    """The uuid all pings of this round bear, so that beginnings and the end are paired."""
    done: frozenset[str] = frozenset()
    """Parts that have succeeded since all was last well."""
    failed: frozenset[str] = frozenset()
    """Parts whose last run failed."""

    def succeeded(self, part: str) -> "PingRound":
        return PingRound(self.run, self.done | {part}, self.failed - {part})

    def failing(self, part: str) -> "PingRound":
        return PingRound(self.run, self.done - {part}, self.failed | {part})

    def waits_for(self, parts: Collection[str], *, every: bool) -> tuple[str, ...]:
        """The parts that keep all from being well.

        Those that failed last; with ``every`` also those that have not succeeded since all was
        last well: of a part that is not even tried any more nothing else would be heard.
        """
        late = self.failed if not every else self.failed | (frozenset(parts) - self.done)
        return tuple(part for part in parts if part in late)
