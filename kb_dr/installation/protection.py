"""What keeps a service recoverable: backups, WAL, copies."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from kb_dr import wiring
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import BackupInProgress, KbDrError, PostgresUnavailable
from kb_dr.installation.buckets import Buckets
from kb_dr.installation.copying import Copying
from kb_dr.installation.local_files import LocalFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.operations.audit_wal import WalAudit
    from kb_dr.operations.base_backup import BackupTools
    from kb_dr.operations.flush_stream import Flushed
    from kb_dr.operations.initialise import Marker
    from kb_dr.operations.validate_backup import Validation
    from kb_dr.ports import Progress, Repository

logger = logging.getLogger(__name__)


class Protection(LocalFiles, Copying, Buckets):
    """Takes backups and WAL, and brings them to the further copies."""

    def initialise(self, copy: str) -> Marker:
        """Make one repository ready; its directory is made, a bucket must be there.

        The bucket retains what the settings say before anything is written to it; that of somebody
        else is never told to.
        """
        from kb_dr.operations.initialise import init_repository, is_ours

        wiring.make_place(self.settings, copy)
        repository, service, org = self.repository(copy), self.settings.service, self.settings.org
        is_ours(repository, service=service, org=org)
        self.lock(copy)
        return init_repository(repository, self.clock, service=service, org=org)

    def new_backup_id(self, kind: BackupKind = BackupKind.FULL) -> BackupId:
        """The id a backup that starts now will have; later than every one there is."""
        from kb_dr.operations.name_backup import next_backup_id

        return next_backup_id(
            self.checked("primary"), self.settings.service, self.clock.now(), kind
        )

    def back_up(self, backup: BackupId | None, progress: Progress) -> StoredManifest:
        """Take one full backup into the primary repository.

        Raises NotEnoughSpace, before anything is asked of the source, when less is free there
        than the last one took.
        """
        from kb_dr.operations.base_backup import take_base_backup

        with (
            self.pinged("backup", backup_id=_named(backup)) as work,
            self.backup_told(BackupKind.FULL, backup) as told,
        ):
            primary = self.checked("primary")
            self._require_room(primary)
            stored = told.stored = take_base_backup(
                primary,
                self.codec,
                self.source,
                wiring.base_backup_program(self.settings),
                self.clock,
                progress,
                self._backup_tools(),
                backup=backup,
            )
            work.concerns(backup_id=stored.manifest.id)
            self._tidy_after(stored)
            return stored

    def back_up_incremental(self, backup: BackupId | None, progress: Progress) -> StoredManifest:
        """Take one increment into the primary repository: native, a recovery point, or a full
        one (with an id of that kind) where there is no parent; its notes say why.
        """
        from kb_dr.operations.incremental_backup import ChainRules, take_incremental_backup

        with (
            self.pinged("increment", backup_id=_named(backup)) as work,
            self.backup_told(BackupKind.INCR, backup) as told,
        ):
            try:
                stored = told.stored = take_incremental_backup(
                    self.checked("primary"),
                    self.codec,
                    self.source,
                    wiring.base_backup_program(self.settings),
                    self.clock,
                    progress,
                    self._backup_tools(),
                    ChainRules(
                        copies={copy: self.repository(copy).url for copy in self.copies},
                        longest=self.settings.chain_length,
                    ),
                    backup=backup,
                )
            except BackupInProgress as error:
                work.passed_over(str(error))
                raise
            work.concerns(backup_id=stored.manifest.id)
            self._tidy_after(stored)
            return stored

    def _tidy_after(self, stored: StoredManifest) -> None:
        self._look_at_lock(stored)
        self.note_in_catalog(stored.manifest.backup_id, "primary")
        self._sweep_after(stored)

    def _require_room(self, primary: Repository) -> None:
        from kb_dr.operations.room import look_at_room, newest_full, require_room

        if primary.space() is None:
            return
        room = look_at_room(primary, self.settings.space_warning_percent, newest_full(primary))
        require_room(primary, room.needed_bytes, "back up")

    def _backup_tools(self) -> BackupTools:
        from kb_dr.operations.base_backup import BackupTools

        return BackupTools(
            service=self.settings.service,
            org=self.settings.org,
            host=socket.gethostname(),
            critical_tables=self.settings.critical_tables,
            chunk_bytes=self.settings.chunk_bytes,
            transfers=self.settings.transfers,
            wal_deadline_seconds=self.settings.wal_deadline_seconds,
        )

    def _sweep_after(self, stored: StoredManifest) -> None:
        """Remove what earlier tries left; trouble with it never spoils a good backup."""
        try:
            for prefix in self.sweep(dry_run=False):
                logger.info("removed %s, left by an unfinished backup", prefix)
        except KbDrError as error:
            logger.warning("sweep after %s: %s", stored.manifest.id, error)

    def stream_wal(
        self, *, slot: str | None = None, every_seconds: float = 2.0, accept_gap: bool = False
    ) -> NoReturn:
        """Receive WAL from the source and ship it to every copy, until interrupted."""
        from kb_dr.operations.stream_wal import StreamSettings, stream_wal

        name = slot or self.settings.stream_slot
        try:
            stream_wal(
                wiring.source(replace(self.settings, stream_slot=name)),
                wiring.wal_receiver(self.settings),
                [self.repository(copy) for copy in self.copies],
                self.codec,
                self.clock,
                StreamSettings(
                    directory=self._spool_directory(name),
                    slot=name,
                    every_seconds=every_seconds,
                    accept_gap=accept_gap,
                ),
                check=self._check,
            )
        except PostgresUnavailable as error:
            raise PostgresUnavailable(
                str(error),
                hint=f"{error.hint} If it is lost: `kb-dr wal stream --flush` brings what was "
                "received to the copies without it.",
            ) from error

    def flush_stream(self, *, slot: str | None = None) -> tuple[Flushed, ...]:
        """Bring what a stream has received to every copy, without the source."""
        from kb_dr.operations.flush_stream import flush_stream

        return flush_stream(
            [self.repository(copy) for copy in self.copies],
            self.codec,
            self.clock,
            self._spool_directory(slot or self.settings.stream_slot),
            check=self._check,
        )

    def _spool_directory(self, slot: str) -> Path:
        return self.settings.state_dir / "wal-stream" / slot

    def validate(
        self, backup: BackupId, copy: str, *, deep: bool, progress: Progress
    ) -> Validation:
        """Look at every object of one backup in one copy."""
        from kb_dr.operations.validate_backup import validate_backup

        return validate_backup(
            self.checked(copy),
            self.codec,
            backup,
            progress,
            deep=deep,
            parallel=self.settings.transfers,
        )

    def clusters_backed_up(self, copy: str) -> frozenset[int]:
        """The clusters, by system identifier, that one copy holds backups of."""
        from kb_dr.operations.catalog import readable

        found = readable(self.catalog(copy))
        return frozenset(each.manifest.source.system_identifier for each in found)

    def audit_wal(
        self, copy: str, *, deep: bool = False, progress: Progress | None = None
    ) -> tuple[WalAudit, ...]:
        """Walk the WAL archive of each cluster in one copy."""
        from kb_dr.operations.audit_wal import audit_wal, clusters_present, stored_segment_bytes

        repository = self.checked(copy)
        return tuple(
            audit_wal(
                repository,
                system_identifier=cluster,
                segment_bytes=stored_segment_bytes(repository, self.codec, cluster),
                codec=self.codec,
                deep=deep,
                progress=progress,
                transfers=self.settings.transfers,
            )
            for cluster in clusters_present(repository)
        )

    def sweep(self, *, dry_run: bool) -> Sequence[str]:
        """Remove what unfinished backups left in the primary repository more than a day ago, and
        in every copy what was streamed of segments and is needed no more.
        """
        from kb_dr.operations.audit_wal import clusters_present
        from kb_dr.operations.sweep import sweep
        from kb_dr.operations.sweep_partials import sweep_partials

        others = [each for each in self._every_place() if each.name != "primary"]
        primary = self.checked("primary")
        swept = list(sweep(primary, self.clock, dry_run=dry_run, others=others))
        for copy in self.copies:
            repository = self.checked(copy)
            for cluster in clusters_present(repository):
                swept += sweep_partials(repository, self.clock, cluster, dry_run=dry_run)
        return tuple(swept)


def _named(backup: BackupId | None) -> str | None:
    return None if backup is None else str(backup)
