"""Walk a repository from its newest backup to older ones, reading no more than is asked for."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import NoUsableBackup, UnreadableRecord
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.listed_backups import KINDS
from kb_dr.ports import Repository

_WINDOWS = (timedelta(days=2), timedelta(days=40), None)
"""How far back is listed at a time; a backup of every hour is found in the first."""


def newest_first(
    repository: Repository, before: BackupId, kinds: Sequence[BackupKind] = KINDS
) -> Iterator[tuple[BackupId, StoredManifest | UnreadableRecord]]:
    """Every complete backup of these kinds whose id sorts before ``before``, newest first.

    A manifest that cannot be read is the error that says so. Of one moment a full comes after
    (is older than) an increment: the later of ``kinds`` is the newer.
    """
    upto = (before.stamp, kinds.index(before.kind) if before.kind in kinds else 0)
    for window in _WINDOWS:
        since = (
            BackupId.of(before.service, before.kind, before.started - window) if window else None
        )
        stamp = since.stamp if since else ""
        found = [
            (each, rank)
            for rank, kind in enumerate(kinds)
            for each in _stamps(repository, kind, stamp)
            if (each, rank) < upto
        ]
        for each, rank in sorted(found, reverse=True):
            backup = BackupId(before.service, kinds[rank], each)
            try:
                yield backup, read_manifest(repository, backup)
            except NoUsableBackup:
                continue  # purged since the listing
            except UnreadableRecord as error:
                yield backup, error
        upto = (stamp, 0)


def _stamps(repository: Repository, kind: BackupKind, since: str) -> Iterator[str]:
    prefix = layout.backups_prefix(kind)
    for listed in repository.list(prefix, start_after=prefix + since):
        found = layout.stamp_of_manifest(listed.key)
        if found is not None:
            yield found[1]
