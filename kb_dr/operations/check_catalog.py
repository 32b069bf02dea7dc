"""Hold the catalog against the buckets, in both directions; change neither."""

from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain.catalog_difference import Difference, differences, missing_rows, surplus_rows
from kb_dr.domain.catalog_rows import SyncState
from kb_dr.operations.sync_catalog import Sources, look
from kb_dr.ports import Catalog

MOST_NAMED = 200
"""Differences that are named; those beyond are only counted."""


@dataclass(frozen=True, slots=True)
class CatalogCheck:
    """What a comparison showed."""

    state: SyncState | None
    """When the catalog was last brought in line; None: never, or it has no tables."""
    backups: int
    """In the buckets."""
    differing: int
    """Backups on which they disagree."""
    found: tuple[Difference, ...]
    """The first ``MOST_NAMED`` of them."""
    silent: tuple[str, ...]
    """Copies that did not answer: of those nothing can be said."""

    @property
    def agrees(self) -> bool:
        """Whether everything was compared and is the same."""
        return self.state is not None and not self.differing and not self.silent


def check_catalog(catalog: Catalog, sources: Sources) -> CatalogCheck:
    """Read every backup of every copy, and every row. What changes meanwhile may differ."""
    with catalog.reading() as reader:
        state = reader.state()
        view = look(sources)
        if state is None:
            return CatalogCheck(None, len(view.ids), len(view.ids), (), view.silent)
        found: list[Difference] = []
        differing = 0
        known = reader.tokens()
        shown = reader.rows()
        # Both in order of id.
        catalogued = next(shown, None)
        seen: set[str] = set()

        def differ(some: Sequence[Difference]) -> int:
            found.extend(some[: MOST_NAMED - len(found)])
            return 1 if some else 0

        for rows in view.rows(iter(view.ids)):
            while catalogued is not None and catalogued.backup_id < rows.backup_id:
                seen.add(catalogued.backup_id)
                differing += differ([surplus_rows(catalogued.backup_id, catalogued.log.status)])
                catalogued = next(shown, None)
            if catalogued is not None and catalogued.backup_id == rows.backup_id:
                seen.add(rows.backup_id)
                differing += differ(list(differences(catalogued, rows)))
                catalogued = next(shown, None)
            else:
                seen.add(rows.backup_id)
                differing += differ([missing_rows(rows)])
        while catalogued is not None:
            seen.add(catalogued.backup_id)
            differing += differ([surplus_rows(catalogued.backup_id, catalogued.log.status)])
            catalogued = next(shown, None)
        for orphan in sorted(set(known) - seen):
            differing += differ([surplus_rows(orphan, "rows without one in backup_logs")])
    return CatalogCheck(state, len(view.ids), differing, tuple(found), view.silent)
