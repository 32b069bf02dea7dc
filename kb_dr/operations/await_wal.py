"""Wait until the WAL a backup needs stands in its repository."""

from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.manifest import Manifest
from kb_dr.errors import ObjectConflict, WalGap
from kb_dr.operations.needed_wal import NeededWal, find_needed_wal, needed_segments
from kb_dr.ports import Clock, Repository, SourceLock, SourceServer

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


def await_wal(
    repository: Repository,
    manifest: Manifest,
    source: SourceServer,
    lock: SourceLock,
    clock: Clock,
    *,
    deadline_seconds: float,
) -> None:
    """Return when every segment from start to stop and restore point stands in ``repository``.

    What the archiver reports is not believed: only this repository's listing counts. Raises
    WalGap when some are missing after ``deadline_seconds``, with what the archiver says;
    ObjectConflict when one stands with two digests.
    """
    began = clock.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    while True:
        found = find_needed_wal(repository, manifest)
        if found.doubtful:
            raise ObjectConflict(
                f"complete {manifest.id}: {'; '.join(found.doubtful)}",
                hint="Two servers archive into this repository, or an upload was cut short.",
            )
        if not found.missing:
            return
        if clock.monotonic() - began >= deadline_seconds:
            raise _gap(repository, manifest, found, source.archiver(), deadline_seconds)
        lock.check()
        clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _gap(
    repository: Repository,
    manifest: Manifest,
    found: NeededWal,
    archiver: ArchiverStatus,
    deadline_seconds: float,
) -> WalGap:
    first, last = needed_segments(manifest)
    if archiver.mode == "off":
        hint = (
            "archive_mode is off: set it on, with archive_command = 'kb-dr wal push %p'; where WAL "
            "is streamed, see what `kb-dr wal stream` logs."
        )
    elif archiver.failing:
        hint = (
            f"archive_command fails since {archiver.last_failed_wal}: see the server's log, and "
            "try `kb-dr wal push` by hand."
        )
    elif archiver.last_archived_wal is not None and archiver.last_archived_wal >= last.name:
        hint = (
            "The server says it archived them, but not to this repository: compare the settings "
            "of its archive_command with these."
        )
    else:
        hint = "The archiver is behind: see `kb-dr wal audit`, then start the backup again."
    return WalGap(
        f"complete {manifest.id}: {len(found.missing)} of the WAL files {first.name} to "
        f"{last.name} not in {repository.name} after {deadline_seconds:g} s, the first is "
        f"{found.missing[0]}",
        hint=hint,
    )
