"""Logical dumps of the database under protection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import BackupInProgress, KbDrError
from kb_dr.installation.protection import Protection

if TYPE_CHECKING:
    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.ports import Progress, Repository


class Dumping(Protection):
    """Takes logical dumps into the primary repository."""

    def back_up_dump(self, backup: BackupId | None, progress: Progress) -> StoredManifest:
        """Take one logical dump into the primary repository.

        Raises NotEnoughSpace, before anything is asked of the source, when less is free there
        than the last one took; BackupInProgress while another dump runs, beside which a base
        backup may run.
        """
        from kb_dr.operations.dump_backup import take_dump

        promised = None if backup is None else str(backup)
        with (
            self.pinged("dump", backup_id=promised) as work,
            self.backup_told(BackupKind.DUMP, backup) as told,
        ):
            try:
                primary = self.checked("primary")
                self._require_room_for_dump(primary)
                stored = told.stored = take_dump(
                    primary,
                    self.codec,
                    wiring.dump_source(self.settings),
                    wiring.dump_program(self.settings),
                    self.clock,
                    progress,
                    self._backup_tools(),
                    backup=backup,
                )
            except BackupInProgress as error:
                work.passed_over(str(error))
                raise
            work.concerns(backup_id=stored.manifest.id)
            self._tidy_after(stored)
            return stored

    def _require_room_for_dump(self, primary: Repository) -> None:
        from kb_dr.operations.catalog import read_manifest
        from kb_dr.operations.listed_backups import list_backups
        from kb_dr.operations.room import require_room

        if primary.space() is None:
            return
        for listed in reversed(list(list_backups(primary, BackupKind.DUMP))):
            try:
                newest = read_manifest(
                    primary, BackupId(self.settings.service, listed.kind, listed.stamp)
                )
            except KbDrError:
                continue  # not a backup, or not to be read: `validate` says so, not this
            needed = sum(each.size_bytes for each in newest.manifest.objects)
            require_room(primary, needed, "dump")
            return
