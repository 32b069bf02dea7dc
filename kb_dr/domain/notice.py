"""Notices: what may become an alert. Handed in as often as one likes, each is taken once."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kb_dr.domain.severity import Severity


class State(StrEnum):
    """What a notice says of its condition."""

    BROKEN = "broken"
    MENDED = "mended"
    """Back to normal; of a condition that was never broken it says nothing."""
    TOLD = "told"
    """No condition: something to be told once, such as a success or the weekly digest."""


UNSURE = "nobody can tell: "
"""What was seen begins so where it cannot be told whether anything is broken."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One event somebody may have to know of."""

    id: str
    """Of the event, the same whenever it is read again: ``run/{run id}``,
    ``check/{run id}/{asset}/{check}/{partition}``."""
    key: str
    """Of the condition, the same while it lasts: ``check/postgres/wal_archive/rpo_holds``."""
    kind: str
    """One of alert_kinds.KINDS."""
    state: State
    severity: Severity
    at: datetime
    """When it happened, by the clock of who saw it."""
    seen: str
    """What happened, in one line."""
    do: str = ""
    """What to do; empty: the first move of its kind."""
    subjects: tuple[str, ...] = ()
    """The parts that are broken, e.g. copies; one more of them is worth another message."""
    run_id: str = ""
    """The Dagster run it was seen by."""
    unsure: bool = False
    """Whether nobody could look: what it is of is neither known to be broken nor to be well."""
    facts: tuple[tuple[str, str], ...] = ()
    """Label and value, for those who look closer. Never a secret."""
    gone: bool = False
    """Of one that is MENDED: nobody saw it well; it is not looked at any more."""
