"""Follow an incremental backup back to its full: without every link of it nothing can be restored.

An increment holds what changed since one very backup. Its manifest names that parent and the digest
of the parent's manifest, so that no other of the same id, and no foreign one, is taken for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import Manifest, StoredManifest, manifest_digest
from kb_dr.errors import BrokenChain, NotProven, NoUsableBackup, UnreadableRecord
from kb_dr.operations.catalog import CatalogEntry, Unreadable, read_manifest
from kb_dr.ports import Repository

MOST_LINKS = 1000
"""Hourly increments on one full for six weeks. No chain of ours is longer, so it is none."""

_Find = Callable[[BackupId], StoredManifest]
"""Raises NoUsableBackup where there is none, UnreadableRecord where it cannot be read."""


def load_chain(repository: Repository, stored: StoredManifest) -> tuple[StoredManifest, ...]:
    """All that restoring ``stored`` takes from this copy: its full first, itself last.

    A full is a chain of one, and so is a dump, though nothing is recovered from one. Raises
    BrokenChain when a parent is missing, cannot be read, is of another cluster, or is another than
    the one the increment was made against (its ``__cause__`` is NotProven where only a newer kb_dr
    can read it); and what the repository raises when it cannot be asked.
    """
    return _follow(stored, lambda backup: read_manifest(repository, backup), repository)


def chain_in(catalog: Sequence[CatalogEntry], stored: StoredManifest) -> tuple[StoredManifest, ...]:
    """As load_chain(), of a catalog that was loaded already."""
    return _follow(stored, _finder(catalog))


@dataclass(frozen=True, slots=True)
class Chains:
    """Every backup of one copy that can be read is in one of the two, by its id."""

    whole: Mapping[str, tuple[StoredManifest, ...]]
    broken: Mapping[str, str]
    """Increments that nothing can be restored from, and why."""


def chains_in(catalog: Sequence[CatalogEntry]) -> Chains:
    """The chains of a whole catalog."""
    find = _finder(catalog)
    whole: dict[str, tuple[StoredManifest, ...]] = {}
    broken: dict[str, str] = {}
    for entry in catalog:
        if isinstance(entry, StoredManifest):
            try:
                whole[entry.manifest.id] = _follow(entry, find)
            except BrokenChain as error:
                broken[entry.manifest.id] = str(error)
    return Chains(whole, broken)


def _follow(
    stored: StoredManifest, find: _Find, repository: Repository | None = None
) -> tuple[StoredManifest, ...]:
    chain = [stored]
    seen = {stored.manifest.id}
    while (parent := _parent(stored, chain[-1].manifest)) is not None:
        if str(parent) in seen:
            raise _broken(stored, f"{parent} is among its own parents")
        if len(chain) >= MOST_LINKS:
            raise _broken(stored, f"{len(chain)} links and no full, expected fewer")
        chain.append(_linked(stored, chain[-1], parent, find, repository))
        seen.add(str(parent))
    return tuple(reversed(chain))


def _parent(stored: StoredManifest, child: Manifest) -> BackupId | None:
    """Whom a member leads to; None at the full, and of a dump."""
    alone = child.kind is BackupKind.FULL or (child.kind is BackupKind.DUMP and child.is_dump)
    if alone and child.parent is None and child.parent_digest is None:
        return None
    if child.kind is not BackupKind.INCR or child.parent is None or child.parent_digest is None:
        raise _broken(
            stored,
            f"{child.id} is {child.kind} with parent {child.parent} of digest "
            f"{child.parent_digest}, expected an increment with both, or a full with neither",
        )
    try:
        return BackupId.parse(child.parent)
    except ValueError as error:
        raise _broken(stored, f"the parent of {child.id}: {error}") from error


def _linked(
    stored: StoredManifest,
    child: StoredManifest,
    parent: BackupId,
    find: _Find,
    repository: Repository | None,
) -> StoredManifest:
    expected = child.manifest.parent_digest
    try:
        found = find(parent)
    except NoUsableBackup as error:
        raise _broken(stored, f"its parent {parent} is not in {stored.copy}") from error
    except UnreadableRecord as error:
        newer = _newer(repository, parent, expected)
        raise _broken(stored, f"its parent {parent} cannot be read: {error}") from (newer or error)
    if found.digest != expected:
        raise _broken(
            stored,
            f"{parent} has the manifest {found.digest[:12]}…, expected {(expected or '')[:12]}…, "
            f"against which {child.manifest.id} was made",
        )
    why = _misfit(child.manifest, found.manifest)
    if why:
        raise _broken(stored, f"{parent} is no parent of {child.manifest.id}: {why}")
    return found


def _newer(
    repository: Repository | None, parent: BackupId, expected: str | None
) -> NotProven | None:
    """The very manifest it was made against, which a newer kb_dr wrote: no fault of the copy."""
    if repository is None:
        return None
    body = repository.read(layout.manifest_key(parent))
    newer = (records.schema_version_of(body) or 0) > records.SCHEMA_VERSION
    if not newer or manifest_digest(body) != expected:
        return None
    return NotProven(f"read {parent}: only a newer kb_dr can")


def _misfit(child: Manifest, parent: Manifest) -> str:
    """Why one cannot be the parent of the other, whatever is written in them; empty when it can."""
    own, theirs = child.source.system_identifier, parent.source.system_identifier
    if own != theirs:
        return f"it is of cluster {theirs}, expected {own}"
    if not parent.has_files:
        return "it has no files of its own"
    if parent.wal.start > child.wal.start:
        return f"it starts at {parent.wal.start}, expected no later than {child.wal.start}"
    if child.has_files:
        return ""
    # A recovery point: the parent's own files, and WAL from there.
    if (parent.wal.timeline, parent.wal.start) != (child.wal.timeline, child.wal.start):
        return (
            f"it starts at {parent.wal.start} on timeline {parent.wal.timeline}, expected "
            f"{child.wal.start} on timeline {child.wal.timeline}"
        )
    return ""


def _finder(catalog: Sequence[CatalogEntry]) -> _Find:
    known: dict[tuple[BackupKind, str], CatalogEntry] = {}
    for entry in catalog:
        if isinstance(entry, Unreadable):
            known[entry.kind, entry.stamp] = entry
        else:
            backup = entry.manifest.backup_id
            known[backup.kind, backup.stamp] = entry

    def find(backup: BackupId) -> StoredManifest:
        entry = known.get((backup.kind, backup.stamp))
        if isinstance(entry, Unreadable):
            raise UnreadableRecord(entry.why)
        if entry is None or entry.manifest.id != str(backup):
            raise NoUsableBackup(f"read {backup}: no such backup")
        return entry

    return find


def _broken(stored: StoredManifest, seen: str) -> BrokenChain:
    return BrokenChain(f"follow the chain of {stored.manifest.id}: {seen}")
