"""What a copy lacks, and holds already, of the chain of an increment that is to be copied."""

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import BrokenChain, NoUsableBackup, UnreadableRecord
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.newest_first import newest_first
from kb_dr.ports import Repository


def lacking_parents(
    primary: Repository, offsite: Repository, stored: StoredManifest
) -> tuple[BackupId, ...]:
    """The links of the chain of ``stored`` that are not complete in ``offsite``, full first.

    What stands there already need not be in ``primary`` any more. Raises BrokenChain when a
    parent is in neither, and what the repositories raise.
    """
    lacking: list[BackupId] = []
    child = stored
    seen = {stored.manifest.id}
    while child.manifest.parent is not None:
        if child.manifest.parent in seen:
            raise _broken(stored, f"{child.manifest.parent} is among its own parents")
        seen.add(child.manifest.parent)
        parent = _parent_in(offsite, child)
        if parent is None:
            parent = _parent_in(primary, child)
            if parent is None:
                raise _broken(
                    stored,
                    f"{child.manifest.parent}, the parent of {child.manifest.id}, is neither in "
                    f"{primary.name} nor in {offsite.name}",
                )
            lacking.append(parent.manifest.backup_id)
        child = parent
    return tuple(reversed(lacking))


def brought_wal(offsite: Repository, stored: StoredManifest) -> frozenset[str]:
    """The keys of WAL ``stored`` needs that stand in ``offsite`` for an earlier backup already.

    They were compared from both ends then. A recovery point needs all WAL since its parent: to
    read that again every hour would take longer each time.
    """
    manifest = stored.manifest
    if manifest.has_files or manifest.is_dump:
        return frozenset()
    for _, found in newest_first(offsite, manifest.backup_id):
        if isinstance(found, UnreadableRecord):
            continue
        brother = found.manifest.parent_digest == manifest.parent_digest
        if found.digest == manifest.parent_digest or (brother and not found.manifest.has_files):
            there = find_needed_wal(offsite, found.manifest)
            return frozenset(each.key for each in there.objects if each.size_bytes)
    return frozenset()


def _parent_in(repository: Repository, child: StoredManifest) -> StoredManifest | None:
    """The very backup it was made against; None where another, or none, stands."""
    try:
        found = read_manifest(repository, BackupId.parse(child.manifest.parent or ""))
    except NoUsableBackup:
        return None
    except ValueError as error:
        raise _broken(child, str(error)) from error
    return found if found.digest == child.manifest.parent_digest else None


def _broken(stored: StoredManifest, seen: str) -> BrokenChain:
    return BrokenChain(f"copy {stored.manifest.id}: {seen}")
