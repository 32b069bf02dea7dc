"""The catalog database: a view of the buckets that people and dashboards query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from kb_dr.domain.catalog_rows import BackupRows, SyncState


class Catalog(Protocol):
    """A database that may be down, empty, old or dropped at any time: nothing rests on it.

    Each call raises CatalogUnavailable when it does not answer, CatalogError for the rest.
    """

    @property
    def url(self) -> str:
        """Where it is, for people; never with a secret."""
        ...

    def writing(
        self, *, wait_seconds: float, deadline_seconds: float | None = None
    ) -> AbstractContextManager[CatalogWriter]:
        """The only writer, tables made or brought to the present version.

        Waits so long for another writer to end, then raises CatalogUnavailable; the same once
        ``deadline_seconds`` have passed since the server was reached, whatever hangs. Raises
        CatalogError when the tables are another service's: each would remove the other's rows.
        """
        ...

    def scratch(self) -> AbstractContextManager[Catalog]:
        """An empty catalog beside this one, gone at the end: to try a rebuild in."""
        ...

    def reading(self) -> AbstractContextManager[CatalogReader]:
        """One state of all tables, whatever is written meanwhile; makes and changes nothing."""
        ...


class CatalogReader(Protocol):
    """Reads one state of the tables."""

    def state(self) -> SyncState | None:
        """When it was last brought in line; None when it never was, or has no tables."""
        ...

    def tokens(self) -> Mapping[str, str]:
        """Backup id to the token its rows were written with; every backup that has any row."""
        ...

    def rows(self) -> Iterator[BackupRows]:
        """All rows, a backup at a time, in order of id; in bounded memory."""
        ...

    def rows_of(self, backup_id: str) -> BackupRows | None:
        """All rows of one backup."""
        ...


class CatalogWriter(CatalogReader, Protocol):
    """The only writer there is, for as long as it is open."""

    def replace(self, rows: Sequence[BackupRows]) -> None:
        """Put these in the place of what there is of the same backups; all or nothing."""
        ...

    def remove(self, backup_ids: Iterable[str]) -> None:
        """Remove every row of these backups; all or nothing."""
        ...

    def note_sync(self, state: SyncState) -> None:
        """Remember when it was brought in line."""
        ...

    def rebuild(self, rows: Iterable[BackupRows], state: SyncState) -> int:
        """Put these in the place of everything, in one step; return how many backups.

        A reader sees all of the old or all of the new. Tables that are not as this version makes
        them are made anew. When ``rows`` raises nothing is changed.
        """
        ...
