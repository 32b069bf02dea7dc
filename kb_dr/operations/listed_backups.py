"""Which backups a listing shows, without reading any: all of them, or the newest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_families import DUMPS, PHYSICAL
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.stored import Listed
from kb_dr.ports import Repository

KINDS = PHYSICAL
"""The kinds that recovery to a point in time is made of."""

ALL_KINDS = (*PHYSICAL, *DUMPS)
"""The kinds whose manifests this version writes and reads."""

_SKIP_AFTER = 1000
"""Keys of one backup after which a listing jumps to the next one: a page of S3."""

_FIRST_SPAN, _WIDER = timedelta(days=2), 4
"""How far the newest are looked for, and how much farther each time that was not enough."""

_NOTHING_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
"""There are no backups older than this, whatever the clock says."""


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """A backup whose manifest stands there, or may."""

    kind: BackupKind
    stamp: str
    manifest: Listed | None
    """None where the listing jumped over it: only reading tells whether it stands."""


def list_backups(
    repository: Repository, kind: BackupKind, *, since: str = "", before: str = ""
) -> Iterator[ListedBackup]:
    """Every backup of one kind, oldest first, whose manifest stands there or may.

    ``since`` and ``before`` are stamps, the first included, the second not. A big backup's chunks
    are jumped over, so that the cost grows with the number of backups and not with their size.
    """
    prefix = layout.backups_prefix(kind)
    after = f"{prefix}{since}" if since else ""
    stamp, count, manifest = "", 0, None
    while True:
        for listed in repository.list(prefix, start_after=after):
            name, slash, _ = listed.key.removeprefix(prefix).partition("/")
            if not slash or layout.stamp_of_manifest(layout.manifest_key_of(kind, name)) is None:
                continue
            if name != stamp:
                if manifest is not None:
                    yield ListedBackup(kind, stamp, manifest)
                stamp, count, manifest = name, 0, None
                if before and stamp >= before:
                    return
            count += 1
            if listed.key == layout.manifest_key_of(kind, stamp):
                manifest = listed
            if count >= _SKIP_AFTER:
                yield ListedBackup(kind, stamp, manifest)
                manifest = None
                after = f"{prefix}{stamp}/~"
                break
        else:
            if manifest is not None:
                yield ListedBackup(kind, stamp, manifest)
            return


def newest_first(
    repository: Repository, now: datetime | None = None, *, kinds: Sequence[BackupKind] = KINDS
) -> Iterator[ListedBackup]:
    """Every backup of these kinds by its stamp, the newest first, as far back as it is walked.

    Keys are ordered by time, so stretches of them are listed, each four times as long as all
    before it. The first has no end: a clock set back, or a backup from the future, hides nothing.
    Without ``now`` all are listed at once.
    """
    span, before = _FIRST_SPAN, ""
    while True:
        since = _stamp_before(now, span) if now else ""
        found = [
            each
            for kind in kinds
            for each in list_backups(repository, kind, since=since, before=before)
        ]
        yield from sorted(found, key=lambda each: (each.stamp, each.kind), reverse=True)
        if not since:
            return
        span, before = span * _WIDER, since


def _stamp_before(now: datetime, span: timedelta) -> str:
    """The stamp of a moment; empty, for all there is, when that is before any backup."""
    return (now - span).strftime("%Y%m%d-%H%M%S") if now > _NOTHING_BEFORE + span else ""
