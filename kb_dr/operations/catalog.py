"""The catalog: which backups a repository holds, as their manifests say it.

A backup exists when its manifest does. So storing the manifest is the last write of a backup and
of a copy, and nothing but a manifest is ever taken for a backup.

Whoever asks without naming kinds gets what recovery to a point in time is made of, and no dump: a
dump must never be taken for a base. Whoever keeps, copies, counts or lets go asks for ALL_KINDS.
"""

import heapq
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import Manifest, StoredManifest, manifest_digest
from kb_dr.errors import NoUsableBackup, ObjectMissing, UnreadableRecord
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.lean_manifest import LEAN_BYTES, lean
from kb_dr.operations.listed_backups import KINDS, ListedBackup, list_backups, newest_first
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Repository

_READ_AT_ONCE = 8
_HELD = 64
"""Manifests read ahead of whoever walks a catalog: bounds the memory of a walk."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A manifest that stands in the repository and cannot be read: a backup that may be lost."""

    key: str
    kind: BackupKind
    stamp: str
    copy: str
    why: str


CatalogEntry = StoredManifest | Unreadable

Shape = Callable[[CatalogEntry], CatalogEntry]
"""What is kept of an entry that was read."""


def store_manifest(repository: Repository, manifest: Manifest) -> StoredManifest:
    """Make a backup exist. Call it when everything the manifest names is in ``repository``.

    Raises ObjectConflict when another backup stands under the same id already.
    """
    body = records.to_json(manifest)
    key = layout.manifest_key(manifest.backup_id)
    if records.from_json(Manifest, body, what=key) != manifest:
        raise UnreadableRecord(f"write {key}: it would not read back as what was written")
    repository.put(key, body)
    return StoredManifest(manifest, manifest_digest(body), repository.name)


def read_manifest(repository: Repository, backup: BackupId) -> StoredManifest:
    """One backup's manifest, from this copy.

    Raises NoUsableBackup when there is none, UnreadableRecord when there is one that cannot be
    read, and what the repository raises when it could not be asked.
    """
    return read_manifest_body(repository, backup)[0]


def read_manifest_body(repository: Repository, backup: BackupId) -> tuple[StoredManifest, bytes]:
    """As read_manifest(), with its very bytes: what a copy has to store."""
    key = layout.manifest_key(backup)
    try:
        body = repository.read(key)
    except ObjectMissing as missing:
        raise NoUsableBackup(
            f"read {backup}: no such backup in {repository.name} ({repository.url})",
            hint="`kb-dr list` shows what there is.",
        ) from missing
    found = _parse(repository, key, body)
    if found.manifest.id != str(backup):
        raise UnreadableRecord(f"read {key}: it is of {found.manifest.id}, expected {backup}")
    return found, body


def load_catalog(
    repository: Repository,
    known: "KnownEntries[CatalogEntry] | None" = None,
    *,
    kinds: Sequence[BackupKind] = KINDS,
    shape: Shape | None = None,
) -> tuple[CatalogEntry, ...]:
    """Every backup of these kinds of this copy, oldest first.

    A manifest that cannot be read is an Unreadable entry: it hides no other, and it is not
    passed over. A listing or a read that fails raises; half a catalog is none.

    ``known`` spares reading what it has seen lately; never give it to what deletes. What comes out
    of it is lean(): whole() reads one as it stands. ``shape``: what is kept of each, as it is read.
    """
    return tuple(walk_catalog(repository, known, kinds=kinds, shape=shape))


def walk_catalog(
    repository: Repository,
    known: "KnownEntries[CatalogEntry] | None" = None,
    *,
    kinds: Sequence[BackupKind] = KINDS,
    shape: Shape | None = None,
) -> Iterator[CatalogEntry]:
    """As load_catalog(), one after the other and in bounded memory, however many there are."""
    each_kind = (list_backups(repository, kind) for kind in kinds)
    listed = heapq.merge(*each_kind, key=lambda each: (each.stamp, each.kind))
    return (entry for _, entry in _read_ahead(repository, listed, known, shape))


def each_entry(
    repository: Repository,
    known: "KnownEntries[CatalogEntry] | None" = None,
    *,
    kinds: Sequence[BackupKind] = KINDS,
    shape: Shape | None = None,
) -> Iterator[tuple[BackupKind, str, CatalogEntry]]:
    """As walk_catalog(), with kind and stamp, kind by kind."""
    listed = (each for kind in kinds for each in list_backups(repository, kind))
    found = _read_ahead(repository, listed, known, shape)
    return ((each.kind, each.stamp, entry) for each, entry in found)


def entries_besides(
    repository: Repository,
    known: Container[tuple[BackupKind, str]],
    *,
    since: str = "",
    kinds: Sequence[BackupKind] = KINDS,
) -> tuple[CatalogEntry, ...]:
    """The backups whose manifest stands and whose kind and stamp are not ``known``.

    What is known is not read again. ``since`` is a stamp to begin at.
    """
    listed = (
        each
        for kind in kinds
        for each in list_backups(repository, kind, since=since)
        if (each.kind, each.stamp) not in known
    )
    return tuple(entry for _, entry in _read_ahead(repository, listed))


def walk_back(repository: Repository, now: datetime | None = None) -> Iterator[CatalogEntry]:
    """The backups of this copy from the newest on; each is read when it is asked for.

    With ``now`` no more is listed than is walked.
    """
    for listed in newest_first(repository, now):
        yield from read_entries(repository, (listed,))


def read_entries(
    repository: Repository,
    listed: Sequence[ListedBackup],
    known: "KnownEntries[CatalogEntry] | None" = None,
    *,
    shape: Shape | None = None,
) -> list[CatalogEntry]:
    """What these are, in their order; those without a manifest are left out. ``known`` and
    ``shape`` as in load_catalog().
    """
    return [entry for _, entry in _read_ahead(repository, iter(listed), known, shape)]


def _read_ahead(
    repository: Repository,
    listed: Iterator[ListedBackup],
    known: "KnownEntries[CatalogEntry] | None" = None,
    shape: Shape | None = None,
) -> Iterator[tuple[ListedBackup, CatalogEntry]]:
    """Each with its manifest, a few read at once and never more than a few held."""
    shape = shape or (_whole if known is None else lean_entry)

    def read(some: Sequence[ListedBackup]) -> list[tuple[ListedBackup, CatalogEntry]]:
        found = ((each, _read(repository, each, known, shape)) for each in some)
        return [(each, entry) for each, entry in found if entry is not None]

    while batch := list(islice(listed, _HELD)):
        if len(batch) == 1:
            yield from read(batch)
            continue
        # A stretch each: what is read in a moment, as from a directory, is not worth a switch each.
        size = -(-len(batch) // _READ_AT_ONCE)
        stretches = [batch[begin : begin + size] for begin in range(0, len(batch), size)]
        for found in run_parallel(stretches, read, at_once=_READ_AT_ONCE):
            yield from found


def _read(
    repository: Repository,
    listed: ListedBackup,
    known: "KnownEntries[CatalogEntry] | None",
    shape: Shape,
) -> CatalogEntry | None:
    if known is not None and listed.manifest is not None:
        entry = known.get(repository.url, listed.manifest)
        if entry is not None:
            return entry
    key = layout.manifest_key_of(listed.kind, listed.stamp)
    try:
        body = repository.read(key)
    except ObjectMissing:
        return None  # purged since the listing
    entry = shape(_entry(repository, key, listed.kind, listed.stamp, body))
    if known is not None and listed.manifest is not None:
        known.put(repository.url, listed.manifest, entry, held_bytes=LEAN_BYTES)
    return entry


def lean_entry(entry: CatalogEntry) -> CatalogEntry:
    """The entry for judging: see lean()."""
    return lean(entry) if isinstance(entry, StoredManifest) else entry


def whole(repository: Repository, stored: StoredManifest) -> StoredManifest:
    """All of the backup that ``stored`` is a lean form of, read from this copy.

    Raises what read_manifest() raises, and NoUsableBackup when another one stands there now.
    """
    found = read_manifest(repository, stored.manifest.backup_id)
    if found.digest != stored.digest:
        raise NoUsableBackup(
            f"read {stored.manifest.id} of {repository.name}: its manifest is "
            f"{found.digest[:12]}…, expected {stored.digest[:12]}…, which was chosen",
            hint="Something changed it meanwhile: look at it again.",
        )
    return found


def _whole(entry: CatalogEntry) -> CatalogEntry:
    return entry


def readable(catalog: Sequence[CatalogEntry]) -> tuple[StoredManifest, ...]:
    """The backups of a catalog that can be read, oldest first."""
    return tuple(entry for entry in catalog if isinstance(entry, StoredManifest))


def unreadable(catalog: Sequence[CatalogEntry]) -> tuple[Unreadable, ...]:
    """The manifests of a catalog that cannot be read: each is worth a red light."""
    return tuple(entry for entry in catalog if isinstance(entry, Unreadable))


def newest_backup(repository: Repository) -> BackupId:
    """The newest backup of this copy, also one whose manifest cannot be read: "latest" must not
    quietly mean an older one.

    Raises NoUsableBackup when there is none, UnreadableRecord when nothing here can be read, so
    that not even a name can be told.
    """
    entries = walk_back(repository)
    newest = next(entries, None)
    if newest is None:
        raise NoUsableBackup(
            f"choose the newest backup: there is none in {repository.name} ({repository.url})",
            hint="`kb-dr backup full` takes one, `kb-dr copy` brings it offsite.",
        )
    if isinstance(newest, StoredManifest):
        return newest.manifest.backup_id
    named = next((each for each in entries if isinstance(each, StoredManifest)), None)
    if named is None:
        raise UnreadableRecord(newest.why)
    return BackupId(named.manifest.service, newest.kind, newest.stamp)


def _entry(
    repository: Repository, key: str, kind: BackupKind, stamp: str, body: bytes
) -> CatalogEntry:
    try:
        return _parse(repository, key, body)
    except UnreadableRecord as error:
        return Unreadable(key, kind, stamp, repository.name, str(error))


def _parse(repository: Repository, key: str, body: bytes) -> StoredManifest:
    manifest = records.from_json(Manifest, body, what=f"{key} of {repository.name}")
    try:
        named = layout.manifest_key(manifest.backup_id)
    except ValueError as error:
        raise UnreadableRecord(f"read {key}: {error}") from error
    if named != key:
        raise UnreadableRecord(f"read {key}: it is of {manifest.id}, which belongs at {named}")
    kind = manifest.backup_id.kind
    if manifest.kind is not kind or manifest.is_dump is not (kind is BackupKind.DUMP):
        # Whoever asks for base backups lists by the key, and must not be given a dump.
        inside = "a logical dump" if manifest.is_dump else f"{manifest.kind}, no logical dump"
        raise UnreadableRecord(f"read {key}: what it describes is {inside}, expected {kind}")
    return StoredManifest(manifest, manifest_digest(body), repository.name)
