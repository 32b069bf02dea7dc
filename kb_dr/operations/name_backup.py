"""Name a new backup, whatever the clock says."""

from datetime import datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_families import family_of
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import ObjectConflict
from kb_dr.ports import Repository

_CLOCK_STEP = timedelta(hours=1)
"""A clock put back by less is made up for in the ids, so that they keep their order."""


def next_backup_id(
    repository: Repository, service: str, now: datetime, kind: BackupKind = BackupKind.FULL
) -> BackupId:
    """The id of a backup that starts now, or of the second after the newest one: of any kind that
    recovery is made of, or of dumps.

    So ids keep the order in which backups were taken, also when a clock was put back a little:
    an increment is never named before its parent. A clock that was far ahead must not decide the
    names of all later backups: then it is ``now``.
    """
    wanted = BackupId.of(service, kind, now)
    newest = _newest_from(repository, wanted)
    if newest is None or newest.started - wanted.started > _CLOCK_STEP:
        return wanted
    return BackupId.of(service, kind, newest.started + timedelta(seconds=1))


def clock_notes(repository: Repository, backup: BackupId, started: datetime) -> tuple[str, ...]:
    """What an operator should know when a backup of a later time stands already."""
    newest = _newest_from(repository, BackupId.of(backup.service, backup.kind, started))
    if newest is None:
        return ()
    return (
        f"taken at {started:%Y-%m-%d %H:%M:%S} UTC by the clock, but {newest} stands already: "
        "a clock was wrong then or is now",
    )


def refuse_existing(repository: Repository, backup: BackupId) -> None:
    """Raise ObjectConflict when a backup of this id stands already."""
    if repository.find(layout.manifest_key(backup)) is not None:
        raise ObjectConflict(
            f"back up {backup}: a backup of this id stands in {repository.name} already",
            hint="Start a new backup; it gets an id of its own.",
        )


def _newest_from(repository: Repository, wanted: BackupId) -> BackupId | None:
    """The newest complete backup, of any kind it is ordered with, not older than ``wanted``.

    Only what comes after is listed: nothing, unless a clock is wrong. A dump is nobody's parent
    and has none: dumps are ordered among themselves.
    """
    newest: tuple[str, BackupKind] | None = None
    for kind in family_of(wanted.kind):
        prefix = layout.backups_prefix(kind)
        for listed in repository.list(prefix, start_after=prefix + wanted.stamp):
            found = layout.stamp_of_manifest(listed.key)
            if found is not None:
                newest = max(newest or ("", kind), (found[1], kind))
    return None if newest is None else BackupId(wanted.service, newest[1], newest[0])
