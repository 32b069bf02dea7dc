"""Is there room in a copy for what is to be stored there?"""

from collections.abc import Sequence

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.space import Room
from kb_dr.errors import NotEnoughSpace
from kb_dr.operations.catalog import CatalogEntry, load_catalog, readable
from kb_dr.ports import Repository


def look_at_room(
    repository: Repository, warning_percent: float, *, catalog: Sequence[CatalogEntry] | None = None
) -> Room:
    """The room of one copy, against what its newest full backup takes (nothing without one)."""
    space = repository.space()
    if space is None:
        return Room(repository.name, None, 0, warning_percent)
    known = load_catalog(repository) if catalog is None else catalog
    fulls = [each.manifest for each in readable(known) if each.manifest.kind is BackupKind.FULL]
    needed = sum(each.size_bytes for each in fulls[-1].objects) if fulls else 0
    return Room(repository.name, space, needed, warning_percent)


def require_room(repository: Repository, needed_bytes: int, what: str) -> None:
    """Raise NotEnoughSpace, before a byte is written, when so much does not fit there."""
    space = repository.space()
    if space is not None and space.free_bytes < needed_bytes:
        raise NotEnoughSpace(
            f"{what} in {repository.name} ({repository.url}): {space.free_bytes} bytes free, "
            f"expected at least {needed_bytes}",
            hint="Make room there or move it to a larger disk. Nothing was written.",
        )
