"""Name the newest backup of a copy, also one that cannot be read: it is the one to worry about."""

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import NoUsableBackup
from kb_dr.operations.catalog import Unreadable, walk_back
from kb_dr.operations.initialise import Marker
from kb_dr.operations.listed_backups import list_backups
from kb_dr.ports import Repository


def newest_backup(repository: Repository) -> BackupId:
    """The backup of this copy whose manifest is the newest; NoUsableBackup when there is none."""
    newest = next(walk_back(repository), None)
    if newest is None:
        raise NoUsableBackup(
            f"choose the newest backup: none in {repository.name} ({repository.url})",
            hint="`kb-dr list` shows what there is; `kb-dr copy` brings backups here.",
        )
    if not isinstance(newest, Unreadable):
        return newest.manifest.backup_id
    marker = records.from_json(Marker, repository.read(layout.MARKER), what=layout.MARKER)
    return BackupId(marker.service, newest.kind, newest.stamp)


def newest_dump(repository: Repository) -> BackupId:
    """The newest logical dump of this copy, by the names of manifests; NoUsableBackup when there
    is none.
    """
    newest = max((each.stamp for each in list_backups(repository, BackupKind.DUMP)), default=None)
    if newest is None:
        raise NoUsableBackup(
            f"choose the newest dump: none in {repository.name} ({repository.url})",
            hint="`kb-dr backup dump` takes one; `kb-dr copy` brings dumps to other copies.",
        )
    marker = records.from_json(Marker, repository.read(layout.MARKER), what=layout.MARKER)
    return BackupId(marker.service, BackupKind.DUMP, newest)
