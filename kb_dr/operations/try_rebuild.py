"""Try to make the catalog anew from one copy, beside the one in use: a step of a drill."""

from kb_dr.domain.catalog_rows import BackupRows
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.errors import CatalogUnavailable, KbDrError
from kb_dr.operations.sync_catalog import Sources, rebuild_catalog
from kb_dr.ports import Catalog, Clock

SUBJECT = "catalog rebuilt from storage"

_NAMED = 5


def try_rebuild(catalog: Catalog, sources: Sources, clock: Clock, copy: str) -> Finding:
    """Rebuild into a scratch schema, and compare what both say of this copy.

    A server that does not answer is no fault of the storage, and no recovery needs it: it is
    said, and does not spoil the drill. Raises nothing of ours.
    """
    try:
        with catalog.scratch() as scratch:
            done = rebuild_catalog(scratch, sources, clock)
            differing = _differing(catalog, scratch, copy)
    except CatalogUnavailable as error:
        seen = f"not tried, and no recovery needs it: {error}"
        return Finding(SUBJECT, Outcome.NOT_APPLICABLE, seen, error.hint)
    except KbDrError as error:
        return Finding(SUBJECT, Outcome.COULD_NOT_RUN, str(error), error.hint)
    if done.state.problems:
        return Finding(SUBJECT, Outcome.COULD_NOT_RUN, "; ".join(done.state.problems))
    seen = f"{done.changed} backups, from {copy} alone"
    if differing:
        more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        seen += f"; the one in use differs in {', '.join(differing[:_NAMED])}{more}"
        return Finding(SUBJECT, Outcome.PASSED, seen, "`kb-dr catalog sync` brings it in line.")
    return Finding(SUBJECT, Outcome.PASSED, f"{seen}; the one in use says the same of it")


def _differing(catalog: Catalog, scratch: Catalog, copy: str) -> list[str]:
    """Backups of which the two say different things, as far as this copy goes."""
    with catalog.reading() as live, scratch.reading() as rebuilt:
        if live.state() is None:
            return ["everything: it was never brought in line"]
        said = {each.backup_id: _of(each, copy) for each in rebuilt.rows()}
        used = {each.backup_id: _of(each, copy) for each in live.rows()}
    return sorted(each for each in {*said, *used} if said.get(each) != used.get(each))


def _of(rows: BackupRows, copy: str) -> tuple[str, str | None] | None:
    return next(((each.state, each.digest) for each in rows.copies if each.copy == copy), None)
