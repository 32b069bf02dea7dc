"""Tell the catalog what has just changed; nothing fails, or waits long, because of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.errors import KbDrError, RepositoryError
from kb_dr.installation.places import Places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kb_dr.domain.backup_id import BackupId
    from kb_dr.domain.proof import Void
    from kb_dr.operations.list_holdings import Place

logger = logging.getLogger(__name__)


class CatalogNotes(Places):
    """Writes into the catalog what was done, as well as it can be done now."""

    def note_in_catalog(self, backup: BackupId, *touched: str) -> None:
        """Show one backup as these copies hold it now; call it when the bucket has been written.

        Other copies are not asked: one that is down would hold up what is finished. What cannot
        be noted is said in the log, and is left to the next sync.
        """
        catalog = wiring.catalog(self.settings)
        if catalog is None:
            return
        from kb_dr.operations.sync_catalog import Sources, note_backup

        sources = Sources(
            service=self.settings.service,
            places=lambda: [self.place(copy, touched) for copy in self.copies],
            void_through=lambda: self._void_of(touched),
        )
        try:
            note_backup(catalog, sources, backup)
        except KbDrError as error:
            logger.warning("the catalog does not show %s as it is now: %s", backup, error)

    def place(self, copy: str, touched: Sequence[str] | None = None) -> Place:
        """One copy as a source of the catalog; ``touched`` None looks at all of them."""
        from kb_dr.operations.list_holdings import Place

        repository = self.repository(copy)
        if touched is not None and copy not in touched:
            return Place(copy, repository.url, None, untouched=True)
        try:
            return Place(copy, repository.url, self._opened(copy))
        except RepositoryError as error:
            return Place(copy, repository.url, None, str(error))

    def _void_of(self, copies: Sequence[str]) -> Void | None:
        """As void_through() of these copies alone: what nobody can tell is not proven."""
        from kb_dr.domain.control import ALL, void_through
        from kb_dr.operations.controls import gather_control_runs

        try:
            gathered = gather_control_runs([self._opened(copy) for copy in copies])
        except RepositoryError:
            return ALL
        return ALL if gathered.problems else void_through(gathered.runs)
