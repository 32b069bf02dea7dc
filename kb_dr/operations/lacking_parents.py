"""Which parents of an increment a copy lacks: without each of them it can restore nothing."""

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import BrokenChain, NoUsableBackup
from kb_dr.operations.catalog import read_manifest
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
