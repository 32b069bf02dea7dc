"""The catalog database, kept in line with the copies: a view, and nothing rests on it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.errors import CatalogError, ConfigurationError, KbDrError
from kb_dr.installation.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kb_dr.domain.backup_id import BackupId
    from kb_dr.domain.catalog_rows import BackupRows, SyncState
    from kb_dr.domain.finding import Finding
    from kb_dr.domain.lineage import BackupLineage, ProofLineage
    from kb_dr.operations.check_catalog import CatalogCheck
    from kb_dr.operations.sync_catalog import Sources, Synced
    from kb_dr.ports import Catalog

logger = logging.getLogger(__name__)


class Cataloguing(Evidence):
    """Writes the catalog, reads it, and holds it against the copies."""

    @property
    def database(self) -> Catalog:
        """The catalog of the settings; ConfigurationError when there is none."""
        found = wiring.catalog(self.settings)
        if found is None:
            raise ConfigurationError(
                "open the catalog: none is configured",
                hint="Set KB_DR_CATALOG_URL to postgresql://user@host:port/database.",
            )
        return found

    def sync_catalog(self, *, wait_seconds: float = 0.0) -> Synced:
        """Bring it in line; cheap when nothing changed. Look at ``state.problems``."""
        from kb_dr.operations.sync_catalog import sync_catalog

        return sync_catalog(self.database, self._sources(), self.clock, wait_seconds=wait_seconds)

    def follow_in_catalog(self) -> None:
        """Bring it in line after many backups changed, as well as it can be done now."""
        if self.settings.catalog is None:
            return
        try:
            self.sync_catalog(wait_seconds=2.0)
        except KbDrError as error:
            logger.warning("the catalog is not in line with the copies: %s", error)

    def rebuild_catalog(self) -> Synced:
        """Make it anew from the copies alone. Look at ``state.problems``."""
        from kb_dr.operations.sync_catalog import rebuild_catalog

        return rebuild_catalog(self.database, self._sources(), self.clock)

    def check_catalog(self) -> CatalogCheck:
        """Compare it with the copies, in both directions; change neither."""
        from kb_dr.operations.check_catalog import check_catalog

        return check_catalog(self.database, self._sources())

    @contextmanager
    def catalogued(self) -> Iterator[tuple[SyncState, Iterator[BackupRows]]]:
        """What the catalog shows, oldest id first, and when it was last brought in line.

        Raises CatalogError when it never was: an empty one would look like no backups.
        """
        with self.database.reading() as reader:
            state = reader.state()
            if state is None:
                raise CatalogError(
                    f"read the catalog at {self.database.url}: it was never brought in line",
                    hint="`kb-dr catalog sync` does it.",
                )
            yield state, reader.rows()

    def catalog_rebuilt(self, copy: str) -> tuple[Finding, ...]:
        """Whether the catalog can be made anew from one copy alone; nothing without a catalog.

        It is tried beside the one in use, which is only read.
        """
        from kb_dr.operations.try_rebuild import try_rebuild

        if self.settings.catalog is None:
            return ()
        return (try_rebuild(self.database, self._sources((copy,)), self.clock, copy),)

    def trace(self, backup: BackupId) -> BackupLineage:
        """One backup forward to its copies, children and proofs; read from the copies alone."""
        from kb_dr.operations.trace_lineage import trace_backup

        return trace_backup([self.place(copy) for copy in self.copies], self._sources(), backup)

    def trace_proof(self, proof_id: str, backup: BackupId | None = None) -> ProofLineage:
        """One proof back to what it read; from the copies alone, faster with its backup."""
        from kb_dr.operations.trace_lineage import trace_proof

        places = [self.place(copy) for copy in self.copies]
        return trace_proof(places, self._sources(), proof_id, backup)

    def _sources(self, copies: Sequence[str] | None = None) -> Sources:
        from kb_dr.operations.sync_catalog import Sources

        asked = self.copies if copies is None else tuple(copies)
        return Sources(
            service=self.settings.service,
            places=lambda: [self.place(copy) for copy in asked],
            void_through=self.void_through,
        )
