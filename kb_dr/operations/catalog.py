"""The catalog: which backups a repository holds, as their manifests say it.

A backup exists when its manifest does. So storing the manifest is the last write of a backup and
of a copy, and nothing but a manifest is ever taken for a backup.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import Manifest, StoredManifest, manifest_digest
from kb_dr.errors import NoUsableBackup, ObjectMissing, UnreadableRecord
from kb_dr.ports import Repository

_KINDS = (BackupKind.FULL, BackupKind.INCR)
"""The kinds whose manifests this version writes and reads."""

_SKIP_AFTER = 1000
"""Keys of one backup after which a listing jumps to the next one: a page of S3."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A manifest that stands in the repository and cannot be read: a backup that may be lost."""

    key: str
    kind: BackupKind
    stamp: str
    copy: str
    why: str


CatalogEntry = StoredManifest | Unreadable


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


def load_catalog(repository: Repository) -> tuple[CatalogEntry, ...]:
    """Every backup of this copy, oldest first.

    A manifest that cannot be read is an Unreadable entry: it hides no other, and it is not
    passed over. A listing or a read that fails raises; half a catalog is none.
    """
    found = [(stamp, kind, entry) for kind, stamp, entry in each_entry(repository)]
    found.sort(key=lambda each: each[:2])
    return tuple(entry for _, _, entry in found)


def each_entry(repository: Repository) -> Iterator[tuple[BackupKind, str, CatalogEntry]]:
    """As load_catalog(), one after the other, by kind and stamp: in memory for one of them."""
    for kind in _KINDS:
        for stamp in _stamps(repository, kind):
            key = layout.manifest_key_of(kind, stamp)
            try:
                body = repository.read(key)
            except ObjectMissing:
                continue  # unfinished, or purged since the listing
            yield kind, stamp, _entry(repository, key, kind, stamp, body)


def entries_besides(
    repository: Repository, known: Container[tuple[BackupKind, str]], *, since: str = ""
) -> tuple[CatalogEntry, ...]:
    """The backups whose manifest stands and whose kind and stamp are not ``known``.

    What is known is not read again. ``since`` is a stamp to begin at.
    """
    found: list[CatalogEntry] = []
    for kind in _KINDS:
        for stamp in _stamps(repository, kind, since):
            key = layout.manifest_key_of(kind, stamp)
            if (kind, stamp) in known:
                continue
            try:
                body = repository.read(key)
            except ObjectMissing:
                continue
            found.append(_entry(repository, key, kind, stamp, body))
    return tuple(found)


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
    catalog = load_catalog(repository)
    if not catalog:
        raise NoUsableBackup(
            f"choose the newest backup: there is none in {repository.name} ({repository.url})",
            hint="`kb-dr backup full` takes one, `kb-dr copy` brings it offsite.",
        )
    newest = catalog[-1]
    if isinstance(newest, StoredManifest):
        return newest.manifest.backup_id
    named = readable(catalog)
    if not named:
        raise UnreadableRecord(newest.why)
    return BackupId(named[-1].manifest.service, newest.kind, newest.stamp)


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
    return StoredManifest(manifest, manifest_digest(body), repository.name)


def _stamps(repository: Repository, kind: BackupKind, since: str = "") -> Iterator[str]:
    """The stamps of everything that looks like a backup of this kind, finished or not.

    A big backup's chunks are jumped over, so that the cost grows with the number of backups and
    not with their size.
    """
    prefix = layout.backups_prefix(kind)
    after = f"{prefix}{since}" if since else ""
    while True:
        current, count = "", 0
        for listed in repository.list(prefix, start_after=after):
            stamp, slash, _ = listed.key.removeprefix(prefix).partition("/")
            if not slash or layout.stamp_of_manifest(layout.manifest_key_of(kind, stamp)) is None:
                continue
            if stamp != current:
                yield stamp
                current, count = stamp, 0
            count += 1
            if count >= _SKIP_AFTER:
                after = f"{prefix}{stamp}/~"
                break
        else:
            return
