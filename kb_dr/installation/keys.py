"""The keys of what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kb_dr.installation.dumping import Dumping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kb_dr.domain.backup_id import BackupId
    from kb_dr.domain.key_check import KeyCheck
    from kb_dr.operations.reencrypt_backup import Reencrypted
    from kb_dr.operations.reencrypt_wal import ReencryptedWal
    from kb_dr.ports import Progress


class Keys(Dumping):
    """Tries the identities of this machine on what the copies hold; encrypts it anew."""

    def check_keys(self, copies: Sequence[str], *, every_file: bool = False) -> KeyCheck:
        """Whether everything retained in these copies opens with an identity held here."""
        from kb_dr.domain.key_check import KeyCheck
        from kb_dr.operations.check_keys import check_keys

        check = KeyCheck(self.codec.identities)
        for copy in copies:
            looks = check_keys(
                self.checked(copy),
                self.codec,
                every_file=every_file,
                parallel=self.settings.transfers,
            )
            check.add_all(looks)
        return check

    def check_reencryptable(self, backup: BackupId) -> None:
        """Raise what reencrypt() would raise before it begins."""
        from kb_dr.operations.catalog import read_manifest
        from kb_dr.operations.reencrypt_backup import check_reencryptable

        check_reencryptable(read_manifest(self.checked("primary"), backup).manifest, self.codec)

    def reencrypt(
        self, backup: BackupId, progress: Progress
    ) -> tuple[Reencrypted, tuple[ReencryptedWal, ...]]:
        """Encrypt a backup and its WAL anew in the primary, and bring both to the other copies.

        There, too, the old WAL goes once the new stands. Raises as reencrypt_backup() does.
        """
        from kb_dr.operations.reencrypt_backup import reencrypt_backup
        from kb_dr.operations.reencrypt_wal import reencrypt_wal

        settings = self.settings
        done = reencrypt_backup(
            self.checked("primary"),
            self.codec,
            backup,
            progress,
            chunk_bytes=settings.chunk_bytes,
            parallel=settings.transfers,
        )
        manifest, elsewhere = done.stored.manifest, []
        self.note_in_catalog(manifest.backup_id, "primary")
        for copy in self.further_copies:
            self.copy_backup(manifest.backup_id, copy, progress)
            elsewhere.append(
                reencrypt_wal(
                    self.checked(copy),
                    self.codec,
                    manifest,
                    progress,
                    parallel=settings.transfers,
                )
            )
        return done, tuple(elsewhere)
