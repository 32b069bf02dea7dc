"""What the bench asks of each tool; kb_dr answers the same questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kb_dr_tests.bench.contest import Facts


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run and measure."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside usage.clean_environment(); secrets are here, never in ``words``."""


class Contestant(Protocol):
    """One tool with a repository of its own on one store.

    Every method is called in this order: prepare, then any number of the middle ones, forget.
    Nothing here measures; whoever calls does, with the same ruler for all.
    """

    @property
    def facts(self) -> Facts:
        """Named on the page; ``uneven`` says all that is not like ours."""
        ...

    def prepare(self) -> None:
        """Make an empty repository, the configuration and the keys."""
        ...

    def backup(self) -> Command:
        """Take one full base backup of the running cluster."""
        ...

    def restore(self, target: Path) -> Command:
        """Fill ``target`` (not there yet) with the newest backup.

        What is left to do until it answers queries is done by starting PostgreSQL on ``target``:
        its recovery is configured, and ends at the end of the backup.
        """
        ...

    def archive_command(self) -> str:
        """What PostgreSQL is given, as it is, to archive one segment."""
        ...

    def restore_command(self) -> str:
        """What PostgreSQL is given, as it is, to fetch one segment."""
        ...

    def check(self) -> Command | None:
        """Read every stored byte of the newest backup, and fail where one is not as it was.

        Nothing is restored. None where the tool cannot.
        """
        ...

    def prove(self, target: Path) -> Command:
        """Restore the newest backup to a scratch server, look at it as Work.PROOF says, remove it.

        ``target`` may be used for it, and is gone or empty afterwards.
        """
        ...

    def stored_bytes(self) -> int:
        """What its repository takes now."""
        ...

    def forget(self) -> None:
        """Remove the repository, the configuration and all that was started."""
        ...
