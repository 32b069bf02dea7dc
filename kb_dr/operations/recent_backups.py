"""The newest backups of a copy, for whoever looks each minute."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.status import BackupStatus
from kb_dr.domain.watch.backups import MEAN_DAYS, SeenBackup, SeenBackups
from kb_dr.operations.catalog import CatalogEntry, Unreadable, read_entries
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_backups import ALL_KINDS, ListedBackup, list_backups
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.ports import Repository

_MOST_FULLS = 32
"""Full backups that are read of one copy, the newest; a mean of more says nothing else."""

_MOST_INCREMENTS = 8
"""Increments that are read until one is good."""

Names = Mapping[BackupKind, Sequence[ListedBackup]]
"""Every backup of one copy as its listing shows it, oldest first."""


def list_names(repository: Repository) -> Names:
    """List them; nothing is read."""
    return {kind: tuple(list_backups(repository, kind)) for kind in ALL_KINDS}


def look_at_backups(
    repository: Repository,
    names: Names,
    status: Mapping[str, BackupStatus],
    speaks_against: Callable[[StoredManifest], bool],
    known: KnownEntries[CatalogEntry],
    *,
    service: str,
    history: bool,
) -> SeenBackups:
    """Read the newest full backups and increments; with ``history`` the full ones of the days
    before, and whether one is under way.

    ``status`` is what is known of backups by id; of the newest that nothing is known of
    ``speaks_against`` is asked.
    """
    fulls = _Newest(repository, names[BackupKind.FULL], status, speaks_against, known)
    read = fulls.until_good(_MOST_FULLS)
    if history and read:
        since = read[-1].started - timedelta(days=MEAN_DAYS)
        read = [*fulls.since(since, _MOST_FULLS - len(read)), *read]
    increments: list[SeenBackup] = []
    under_way: datetime | None = None
    if history:
        of_late = _Newest(repository, names[BackupKind.INCR], status, speaks_against, known)
        increments = [each for each in of_late.until_good(_MOST_INCREMENTS) if each.good]
        under_way = _under_way(repository, names[BackupKind.FULL], service)
    return SeenBackups(
        fulls=tuple(read),
        newest_increment=increments[-1] if increments else None,
        older=fulls.left,
        unreadable=tuple(each.why for each in fulls.unreadable),
        under_way_since=under_way,
    )


class _Newest:
    """Backups of one kind, read from the newest on."""

    def __init__(
        self,
        repository: Repository,
        names: Sequence[ListedBackup],
        status: Mapping[str, BackupStatus],
        speaks_against: Callable[[StoredManifest], bool],
        known: KnownEntries[CatalogEntry],
    ) -> None:
        self._repository = repository
        self._names = list(names)
        self._status = status
        self._speaks_against = speaks_against
        self._known = known
        self.unreadable: list[Unreadable] = []

    @property
    def left(self) -> int:
        """How many were not read."""
        return len(self._names)

    def until_good(self, most: int) -> list[SeenBackup]:
        """The newest, and older ones until one is good; oldest first."""
        found: list[SeenBackup] = []
        while self._names and most > 0:
            most -= 1
            for entry in self._read([self._names.pop()]):
                found.insert(0, self._seen(entry, ask=True))
            if found and found[0].good:
                break
        return found

    def since(self, moment: datetime, most: int) -> list[SeenBackup]:
        """Those not read yet that began at that moment or later, the newest of them."""
        oldest = f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}"
        wanted = [each for each in self._names if each.stamp >= oldest][-most:] if most else []
        self._names = self._names[: len(self._names) - len(wanted)]
        return [self._seen(entry, ask=False) for entry in self._read(wanted)]

    def _read(self, listed: Sequence[ListedBackup]) -> list[StoredManifest]:
        entries = read_entries(self._repository, listed, self._known)
        self.unreadable += [each for each in entries if isinstance(each, Unreadable)]
        return [each for each in entries if isinstance(each, StoredManifest)]

    def _seen(self, stored: StoredManifest, *, ask: bool) -> SeenBackup:
        manifest, known = stored.manifest, self._status.get(stored.manifest.id)
        if known is not None:
            good = known.usable and not known.broken
        else:
            good = not (ask and self._speaks_against(stored))
        return SeenBackup(
            id=manifest.id,
            started=manifest.started,
            finished=manifest.finished,
            system_identifier=manifest.source.system_identifier,
            plain_bytes=manifest.plain_bytes,
            stored_bytes=manifest.stored_bytes,
            starts_in=needed_segments(manifest)[0],
            good=good,
        )


def _under_way(
    repository: Repository, fulls: Sequence[ListedBackup], service: str
) -> datetime | None:
    """When the first full backup began behind the newest complete one that has neither a manifest
    nor a record of its failure: it is at work, or its process is gone.
    """
    prefix = layout.backups_prefix(BackupKind.FULL)
    after = f"{prefix}{fulls[-1].stamp}/~" if fulls else ""
    while (listed := next(iter(repository.list(prefix, start_after=after)), None)) is not None:
        stamp = listed.key.removeprefix(prefix).partition("/")[0]
        # Past all it stored, however much; a stray object may sort behind that.
        after = max(f"{prefix}{stamp}/~", listed.key)
        try:
            backup = BackupId.parse(f"{service}-{BackupKind.FULL}-{stamp}")
        except ValueError:
            continue  # a stray object
        if repository.find(layout.manifest_key(backup)) is not None:
            continue  # it was finished since the listing
        failed = next(iter(repository.list(layout.failures_prefix(backup))), None)
        if failed is None:
            # Objects encrypted anew bear the stamp of an old backup, and were stored just now.
            return max(backup.started, listed.modified)
    return None
