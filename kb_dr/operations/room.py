"""Is there room in a copy for what is to be stored there?"""

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.space import Room
from kb_dr.errors import NotEnoughSpace
from kb_dr.operations.catalog import read_entries, readable
from kb_dr.operations.listed_backups import newest_first
from kb_dr.ports import Repository


def look_at_room(repository: Repository, warning_percent: float, newest: Manifest | None) -> Room:
    """The room of one copy, against what ``newest`` takes: the next backup takes about as much."""
    needed = sum(each.size_bytes for each in newest.objects) if newest is not None else 0
    return Room(repository.name, repository.space(), needed, warning_percent)


def newest_full(repository: Repository) -> Manifest | None:
    """The newest full backup of a copy that can be read; None without one.

    Read from the newest on, one manifest at a time: whole ones are a MiB each.
    """
    for listed in newest_first(repository, kinds=(BackupKind.FULL,)):
        for stored in readable(read_entries(repository, (listed,))):
            return stored.manifest
    return None


def require_room(repository: Repository, needed_bytes: int, what: str) -> None:
    """Raise NotEnoughSpace, before a byte is written, when so much does not fit there."""
    space = repository.space()
    if space is not None and space.free_bytes < needed_bytes:
        raise NotEnoughSpace(
            f"{what} in {repository.name} ({repository.url}): {space.free_bytes} bytes free, "
            f"expected at least {needed_bytes}",
            hint="Make room there or move it to a larger disk. Nothing was written.",
        )
