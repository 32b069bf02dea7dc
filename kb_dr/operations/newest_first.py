"""Walk a repository from its newest backup to older ones, reading no more than is asked for."""

from collections.abc import Iterator
from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_families import PHYSICAL
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import NoUsableBackup, UnreadableRecord
from kb_dr.operations.catalog import read_manifest
from kb_dr.ports import Repository

_KINDS = PHYSICAL

_WINDOWS = (timedelta(days=2), timedelta(days=40), None)
"""How far back is listed at a time; a backup of every hour is found in the first."""


def newest_first(
    repository: Repository, before: BackupId
) -> Iterator[tuple[BackupId, StoredManifest | UnreadableRecord]]:
    """Every complete base backup whose id sorts before ``before``, newest first; no dump.

    A manifest that cannot be read is the error that says so. Of one moment a full comes after
    (is older than) an increment.
    """
    upto = (before.stamp, _KINDS.index(before.kind) if before.kind in _KINDS else 0)
    for window in _WINDOWS:
        since = (
            BackupId.of(before.service, before.kind, before.started - window) if window else None
        )
        stamp = since.stamp if since else ""
        found = [
            (each, rank)
            for rank, kind in enumerate(_KINDS)
            for each in _stamps(repository, kind, stamp)
            if (each, rank) < upto
        ]
        for each, rank in sorted(found, reverse=True):
            backup = BackupId(before.service, _KINDS[rank], each)
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
