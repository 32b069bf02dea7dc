"""The catalog database, kept in line with the copies: a view, and nothing waits for it."""

import logging
from collections.abc import Sequence

from kb_dr import wiring
from kb_dr.errors import ConfigurationError, RepositoryError
from kb_dr.installation.evidence import Evidence
from kb_dr.operations.list_holdings import Place
from kb_dr.operations.sync_catalog import Sources, Synced, rebuild_catalog, sync_catalog
from kb_dr.ports import Catalog

logger = logging.getLogger(__name__)


class Cataloguing(Evidence):
    """Writes the catalog, and holds it against the copies."""

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
        """Bring it in line; cheap when nothing changed."""
        return sync_catalog(self.database, self._sources(), self.clock, wait_seconds=wait_seconds)

    def rebuild_catalog(self) -> Synced:
        """Make it anew from the copies alone."""
        return rebuild_catalog(self.database, self._sources(), self.clock)

    def _sources(self, copies: Sequence[str] | None = None) -> Sources:
        asked = self.copies if copies is None else tuple(copies)
        return Sources(
            service=self.settings.service,
            places=lambda: [self._place(copy) for copy in asked],
            void_through=self.void_through,
        )

    def _place(self, copy: str) -> Place:
        repository = self.repository(copy)
        try:
            return Place(copy, repository.url, self._opened(copy))
        except RepositoryError as error:
            return Place(copy, repository.url, None, str(error))
