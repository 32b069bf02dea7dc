"""How far a further copy is behind the primary, told from listings."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.status import CopyStatus
from kb_dr.domain.wal_names import is_segment
from kb_dr.domain.watch.copies import Lag
from kb_dr.operations.catalog import CatalogEntry, read_entries
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_backups import ListedBackup
from kb_dr.operations.listed_wal import stored_wal
from kb_dr.operations.recent_backups import Names
from kb_dr.ports import Repository

_MOST_COUNTED = 1000
"""Segments a copy lacks are counted so far."""


def measure_lag(
    primary: Repository,
    copy: Repository,
    names: Mapping[str, Names],
    status: Mapping[str, CopyStatus],
    let_go: Callable[[str], Mapping[str, str]],
    known: KnownEntries[CatalogEntry],
    now: datetime,
    *,
    service: str,
    made_at: datetime,
) -> Lag:
    """What ``copy`` lacks, and for how long: not from before it was made, at ``made_at``.

    What retention let go of there is not missed, nor what was made against that. Raises what the
    repositories raise.
    """
    missing, other = _differences(primary, copy, names[primary.name], names[copy.name])
    lacking = _ages(primary, missing, known, now, service=service, made_at=made_at)
    if lacking:
        gone = dict(let_go(copy.name))
        for name, (_, parent) in lacking.items():  # parents come first
            if parent in gone:
                gone.setdefault(name, parent)
        lacking = {name: each for name, each in lacking.items() if name not in gone}
    seconds, segments, problem = _wal_behind(
        primary, status.get(primary.name), status.get(copy.name), now, made_at
    )
    return Lag(
        backups={name: each[0] for name, each in lacking.items()},
        other=tuple(f"{service}-{each.kind}-{each.stamp}" for each in other),
        wal_seconds=seconds,
        wal_segments=segments,
        wal_problem=problem,
    )


def _differences(
    primary: Repository, copy: Repository, here: Names, there: Names
) -> tuple[list[ListedBackup], list[ListedBackup]]:
    """What is not there, oldest first, and what stands there as another: the very bytes of a
    manifest are copied, so that another size is another manifest.
    """
    missing: list[ListedBackup] = []
    other: list[ListedBackup] = []
    for kind, listed in here.items():
        stands = {each.stamp: each for each in there[kind]}
        for each in listed:
            key = layout.manifest_key_of(kind, each.stamp)
            at = stands.get(each.stamp)
            # A listing jumps over the many chunks of a large backup, and its manifest with them.
            own = each.manifest or primary.find(key)
            found = None if at is None else at.manifest or copy.find(key)
            if own is None:
                continue
            if found is None:
                missing.append(each)
            elif found.size_bytes != own.size_bytes:
                other.append(each)
    return sorted(missing, key=lambda each: (each.stamp, each.kind)), other


def _ages(
    primary: Repository,
    missing: Sequence[ListedBackup],
    known: KnownEntries[CatalogEntry],
    now: datetime,
    *,
    service: str,
    made_at: datetime,
) -> dict[str, tuple[float, str | None]]:
    """Id to the seconds it is lacking for, and its parent. One that cannot be read counts from
    when it began.
    """
    found: dict[str, tuple[float, str | None]] = {}
    for each in missing:
        backup = BackupId(service, BackupKind(each.kind), each.stamp)
        since, parent = backup.started, None
        for entry in read_entries(primary, [each], known):
            if isinstance(entry, StoredManifest):
                since, parent = entry.manifest.finished, entry.manifest.parent
            found[str(backup)] = (max(0.0, (now - max(since, made_at)).total_seconds()), parent)
    return found


def _wal_behind(
    primary: Repository,
    ours: CopyStatus | None,
    theirs: CopyStatus | None,
    now: datetime,
    made_at: datetime,
) -> tuple[float | None, int, str]:
    """How long the oldest segment it lacks has stood in the primary, how many, or why not known."""
    for each in (ours, theirs):
        if each is None:
            return None, 0, "it was not looked at"
        if each.problem:
            return None, 0, each.problem
    assert ours is not None
    assert theirs is not None
    tip, end = ours.tip_window, theirs.tip_window
    if tip is None or end is None:
        which = ours if tip is None else theirs
        return None, 0, f"{which.copy} holds no usable backup: WAL there leads nowhere"
    if tip.system_identifier != end.system_identifier:
        return None, 0, f"{theirs.copy} holds no usable backup of the cluster {ours.copy} follows"
    lacking: dict[str, datetime] = {}
    for timeline in sorted({end.timeline, tip.timeline}):
        prefix = layout.timeline_prefix(tip.system_identifier, timeline)
        last = f"{timeline:08X}{end.last_segment[8:]}"
        for listed in primary.list(prefix, start_after=prefix + last):
            stored = stored_wal(listed)
            if stored is None or not is_segment(stored.name) or stored.name <= last:
                continue
            lacking.setdefault(stored.name, listed.modified)
            if len(lacking) >= _MOST_COUNTED:
                break
    if not lacking:
        return None, 0, ""
    since = max(min(lacking.values()), made_at)
    return max(0.0, (now - since).total_seconds()), len(lacking), ""
