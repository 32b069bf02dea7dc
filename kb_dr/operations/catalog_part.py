"""The newest backups of one copy, looked at as far back as somebody needs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import KbDrError
from kb_dr.operations.catalog import CatalogEntry, Shape, lean_entry, read_entries
from kb_dr.operations.initialise import check_marker
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_backups import ListedBackup, newest_first
from kb_dr.ports import Repository

_STAMP = "%Y%m%d-%H%M%S"
_READ_TOGETHER = 64


class CatalogPart:
    """Some of a copy's catalog, the newest of it. Raises nothing of ours: see ``error``.

    Its manifests are lean(): it is for judging, not for restoring.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        service: str,
        org: str,
        now: datetime | None = None,
        known: KnownEntries[CatalogEntry] | None = None,
        shape: Shape = lean_entry,
    ) -> None:
        """``known`` and ``shape`` as in load_catalog(); what ``shape`` leaves must be enough to
        judge by.
        """
        self.repository = repository
        self._known, self._shape = known, shape
        self.error: KbDrError | None = None
        """Why this copy could not be looked at."""
        self.whole = False
        """Whether nothing stands there that was not looked at."""
        self._newest_first: list[CatalogEntry] = []
        self._parents: list[CatalogEntry] = []
        self._listed: Iterator[ListedBackup] = newest_first(repository, now)
        self._next: ListedBackup | None = None
        self._oldest = ""
        try:
            repository.check()
            check_marker(repository, service=service, org=org)
        except KbDrError as error:
            self.error = error

    @property
    def entries(self) -> tuple[CatalogEntry, ...]:
        """What was looked at, oldest first."""
        return tuple(reversed(self._newest_first))

    @property
    def with_parents(self) -> tuple[CatalogEntry, ...]:
        """The same, and the older backups that increments among them are put together from."""
        return (*self._parents, *self.entries)

    @property
    def names(self) -> set[BackupId]:
        """The ids of all those that can be read, parents too."""
        found = (each for each in self.with_parents if isinstance(each, StoredManifest))
        return {each.manifest.backup_id for each in found}

    @property
    def looked_since(self) -> datetime | None:
        """The begin of the oldest one looked at; None when all were."""
        if self.whole or self.error is not None or not self._oldest:
            return None
        return datetime.strptime(f"{self._oldest}Z", f"{_STAMP}%z")

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to look at here, or no way to."""
        return self.whole or self.error is not None

    def reach(self, count: int | None) -> None:
        """Look at so many backups in all; at every one with None."""
        if self.ended:
            return
        try:
            while not self.whole and (count is None or len(self._newest_first) < count):
                more = _READ_TOGETHER if count is None else count - len(self._newest_first)
                self._read(min(more, _READ_TOGETHER))
            self._find_parents()
        except KbDrError as error:
            self.error = error

    def reach_back_to(self, since: datetime, most: int) -> None:
        """Look at all that were begun by then or later, and at no more than ``most`` in all."""
        if self.ended:
            return
        oldest = f"{since.astimezone(UTC):{_STAMP}}"
        try:
            while not self.whole and self._oldest >= oldest and len(self._newest_first) < most:
                self._read(min(most - len(self._newest_first), _READ_TOGETHER))
            self._find_parents()
        except KbDrError as error:
            self.error = error

    def _read(self, most: int) -> None:
        ahead = () if self._next is None else (self._next,)
        listed = list(islice(chain(ahead, self._listed), most))
        self._newest_first += self._entries(listed)
        if listed:
            self._oldest = listed[-1].stamp
        self._next = next(self._listed, None)
        self.whole = self._next is None

    def _entries(self, listed: Sequence[ListedBackup]) -> list[CatalogEntry]:
        return read_entries(self.repository, listed, self._known, shape=self._shape)

    def _find_parents(self) -> None:
        """Read the chains that lead out of what was looked at, a link of each at a time."""
        self._parents = []
        known = {_name(each) for each in self._newest_first}
        children: list[CatalogEntry] = self._newest_first
        while lacking := {each for each in map(_parent_of, children) if each} - known:
            known |= lacking
            listed = [ListedBackup(kind, stamp, None) for kind, stamp in sorted(lacking)]
            children = self._entries(listed)
            self._parents += children


def _name(entry: CatalogEntry) -> tuple[BackupKind, str]:
    if isinstance(entry, StoredManifest):
        backup = entry.manifest.backup_id
        return backup.kind, backup.stamp
    return entry.kind, entry.stamp


def _parent_of(entry: CatalogEntry) -> tuple[BackupKind, str] | None:
    """Kind and stamp of what an increment was made against; None when it names nothing."""
    if not isinstance(entry, StoredManifest) or entry.manifest.parent is None:
        return None
    try:
        parent = BackupId.parse(entry.manifest.parent)
    except ValueError:
        return None  # whoever follows the chain says so
    return parent.kind, parent.stamp
