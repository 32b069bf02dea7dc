"""The backups of late as one repository holds them, and how often one was tried: for metrics.

Listings, and the manifests of a week: neither grows with how many backups there ever were.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.measured import Taken, Tries
from kb_dr.domain.stored import Listed
from kb_dr.operations.catalog import CatalogEntry, read_entries, readable
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_backups import ListedBackup, list_backups, newest_first
from kb_dr.ports import Repository

_BEFORE = timedelta(days=8)
"""So much earlier than the newest a backup may have started that ended within seven days of it."""


def recent_backups(
    repository: Repository,
    service: str,
    kind: BackupKind,
    now: datetime,
    known: KnownEntries[CatalogEntry],
) -> tuple[Taken, ...]:
    """The newest backup of a kind and those of the week before it, oldest first.

    One whose manifest cannot be read is left out: status says so of the copy.
    """
    newest = next(newest_first(repository, now, kinds=(kind,)), None)
    if newest is None:
        return ()
    since = BackupId.of(service, kind, BackupId(service, kind, newest.stamp).started - _BEFORE)
    listed = list(list_backups(repository, kind, since=since.stamp))
    return tuple(
        Taken(
            id=each.manifest.id,
            kind=kind,
            started=each.manifest.started,
            finished=each.manifest.finished,
            stored_bytes=each.manifest.stored_bytes,
            plain_bytes=each.manifest.plain_bytes,
        )
        for each in readable(read_entries(repository, listed, known))
    )


def recent_tries(repository: Repository, service: str, kind: BackupKind, since: datetime) -> Tries:
    """What was tried of a kind since then: each by the time in its id.

    A backup that was let go of since is known by its tombstones, so that an hourly one counts
    for longer than it is kept.
    """
    oldest = BackupId.of(service, kind, since)
    done = {
        each.stamp
        for each in list_backups(repository, kind, since=oldest.stamp)
        if _stands(repository, each)
    }
    for listed in _records(repository, layout.TOMBSTONES, oldest):
        name, _, rest = listed.key.removeprefix(layout.TOMBSTONES).partition("/")
        if rest.startswith(f"{repository.name}/"):
            done.add(BackupId.parse(name).stamp)
    failed = [
        BackupId.parse(listed.key.removeprefix(layout.FAILURES).partition("/")[0]).started
        for listed in _records(repository, layout.FAILURES, oldest)
    ]
    return Tries(
        tuple(BackupId(service, kind, stamp).started for stamp in sorted(done)), tuple(failed)
    )


def _stands(repository: Repository, each: ListedBackup) -> bool:
    if each.manifest is not None:
        return True
    return repository.find(layout.manifest_key_of(each.kind, each.stamp)) is not None


def _records(repository: Repository, prefix: str, oldest: BackupId) -> Iterator[Listed]:
    under, after = layout.records_since(prefix, oldest)
    for listed in repository.list(under, start_after=after):
        name = listed.key.removeprefix(prefix).partition("/")[0]
        try:
            BackupId.parse(name)
        except ValueError:
            continue  # nothing of ours
        yield listed
