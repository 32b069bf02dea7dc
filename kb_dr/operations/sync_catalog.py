"""Bring the catalog in line with the buckets: by the difference, or from nothing.

The buckets are the truth. Rows are read from them alone, and the same rows come out whichever
way they went in.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.catalog_rows import BackupRows, SyncedCopy, SyncState
from kb_dr.domain.derive_rows import derive_rows, with_older
from kb_dr.domain.proof import Void
from kb_dr.errors import CatalogError
from kb_dr.operations.gather_backup import gather_backup
from kb_dr.operations.list_holdings import (
    CopyListing,
    Place,
    ancestors,
    list_holdings,
    list_one,
    token_of,
)
from kb_dr.ports import Catalog, Clock

T = TypeVar("T")

_DERIVATION = 2
"""Goes up when derive_rows.py makes other rows of the same records: all are read again."""

_NOTE_WAITS = 2.0
"""Seconds a note waits for another writer; what it cannot say the next sync does."""

_NOTE_LASTS = 20.0
"""Seconds after which a note gives up whatever hangs: a finished backup is waiting for it."""

_BATCH = 100
"""Backups read and written at once."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the truth is read."""

    service: str
    places: Callable[[], Sequence[Place]]
    """Every copy that is configured, in order; asked once the catalog has answered."""
    void_through: Callable[[], Void | None]


@dataclass(frozen=True, slots=True)
class Synced:
    """What one sync or rebuild did."""

    state: SyncState
    changed: int
    removed: int


def sync_catalog(
    catalog: Catalog, sources: Sources, clock: Clock, *, wait_seconds: float = 0.0
) -> Synced:
    """Write the rows of every backup that the copies list otherwise than when they were written.

    Where nothing changed that is a listing and no more. What a copy that does not answer may
    hold is kept, and is unknown. Raises what a copy raises that stopped answering midway; what
    was written by then is right.
    """
    with catalog.writing(wait_seconds=wait_seconds) as writer:
        began = clock.now()
        view = look(sources)
        known = dict(writer.tokens())
        wanted = view.ids if not view.silent else sorted({*view.ids, *known})
        changed = 0
        todo = (each for each in wanted if known.get(each) != view.token(each))
        for batch in _batches(view.rows(todo)):
            writer.replace(batch)
            changed += len(batch)
        gone = sorted(set(known) - set(wanted))
        for some in _batches(iter(gone)):
            writer.remove(some)
        state = SyncState(began, clock.now(), len(wanted), view.copies)
        writer.note_sync(state)
    return Synced(state, changed, len(gone))


def rebuild_catalog(
    catalog: Catalog, sources: Sources, clock: Clock, *, wait_seconds: float = 600.0
) -> Synced:
    """Make every table anew from the copies alone; readers see the old ones until they are whole.

    Raises CatalogError when not one copy answers: an empty catalog would look like no backups.
    """
    with catalog.writing(wait_seconds=wait_seconds) as writer:
        began = clock.now()
        view = look(sources)
        if len(view.silent) == len(view.listings):
            raise CatalogError(
                f"rebuild the catalog: no copy answers: {'; '.join(view.silent)}",
                hint="`kb-dr doctor` tests the copies. The catalog is as it was.",
            )
        state = SyncState(began, clock.now(), len(view.ids), view.copies)
        count = writer.rebuild(view.rows(iter(view.ids)), state)
    return Synced(state, count, 0)


def note_backup(catalog: Catalog, sources: Sources, backup: BackupId) -> None:
    """Write what the copies of ``sources`` hold of one backup, right after it changed.

    A copy that is untouched keeps what the catalog knew of it; the next sync looks at all.
    """
    with catalog.writing(wait_seconds=_NOTE_WAITS, deadline_seconds=_NOTE_LASTS) as writer:
        older = writer.rows_of(str(backup))
        listings = [list_one(each, backup) for each in sources.places()]
        seen = gather_backup(backup, listings, older)
        rows = derive_rows(seen, sources.void_through())
        if older is not None and any(each.place.untouched for each in listings):
            rows = with_older(rows, older)
        writer.replace([rows])


class View:
    """The copies, listed; their backups are read one at a time."""

    def __init__(self, listings: Sequence[CopyListing], void: Void | None) -> None:
        self.listings = tuple(listings)
        self._void = void
        self._ancestors = [ancestors(each) for each in self.listings]
        told = (void.through, sorted(void.hosts.items())) if void else ()
        self._also = f"{_DERIVATION} {told}"
        self.ids = sorted({each for listing in listings for each in listing.holdings})

    @property
    def silent(self) -> tuple[str, ...]:
        """The copies that did not answer."""
        return tuple(f"{x.place.copy}: {x.place.problem}" for x in self.listings if x.silent)

    @property
    def copies(self) -> tuple[SyncedCopy, ...]:
        """How each copy answered."""
        return tuple(SyncedCopy(x.place.copy, x.place.url, x.place.problem) for x in self.listings)

    def token(self, backup: str) -> str:
        """See token_of()."""
        chains = "".join(each.get(backup, "") for each in self._ancestors)
        return token_of(backup, self.listings, self._also + chains)

    def rows(self, backups: Iterator[str]) -> Iterator[BackupRows]:
        """The rows of these backups, one at a time."""
        for each in backups:
            seen = gather_backup(BackupId.parse(each), self.listings)
            yield derive_rows(seen, self._void, token=self.token(each))


def look(sources: Sources) -> View:
    # Before the records: a green that a round of controls has voided since is voided by the next.
    void = sources.void_through()
    return View([list_holdings(each, sources.service) for each in sources.places()], void)


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, _BATCH)):
        yield batch
