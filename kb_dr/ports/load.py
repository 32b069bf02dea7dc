"""What loading a dump needs of a server beyond what `kb_dr.ports.DatabaseServer` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kb_dr.domain.database_mark import DatabaseMark


class LoadTarget(Protocol):
    """The same server: marks on its databases, its roles. Raises as SourceServer does."""

    def mark(self, database: str, mark: DatabaseMark) -> None:
        """Make this the comment of a database."""
        ...

    def marks(self) -> dict[str, DatabaseMark]:
        """Every database that bears a mark of ours, and the mark."""
        ...

    def create_roles(self, names: Sequence[str]) -> None:
        """Create these roles, who may not log in and may do nothing. TargetLacks where our role
        may not.
        """
        ...
