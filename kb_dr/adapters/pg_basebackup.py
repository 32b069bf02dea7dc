"""Base backups: the tar of the cluster, and where its WAL begins and ends.

A full one is asked for over our own connection, an increment by pg_basebackup to a pipe.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from kb_dr.adapters.await_backup import Patience
from kb_dr.adapters.backup_manifest import BackupManifestReader, unpacked_manifest
from kb_dr.adapters.postgres_programs import PostgresPrograms, command_failed
from kb_dr.adapters.postgres_session import connection_words, conninfo
from kb_dr.adapters.program_output import ProgramOutput
from kb_dr.adapters.read_ahead import BackupReadAhead
from kb_dr.adapters.replication_backup import replicated
from kb_dr.adapters.tar_index import MemberTap, TarDamaged
from kb_dr.domain.base_backup import BaseBackupEnd
from kb_dr.domain.tablespaces import Tablespace
from kb_dr.errors import PostgresCommandFailed, PostgresError, WalSummariesMissing
from kb_dr.settings import SourceSettings

_NO_SUMMARIES = b"WAL summar"
"""In every refusal of basebackup_incremental.c that a full backup would not meet: summarization is
off, is not progressing, or its summaries do not reach back to the parent."""


class PgBaseBackup:
    """Implements `kb_dr.ports.BaseBackupProgram`; the seconds are those of Patience."""

    def __init__(
        self,
        programs: PostgresPrograms,
        source: SourceSettings,
        *,
        stall_seconds: float = 600.0,
        archive_seconds: float = 600.0,
    ) -> None:
        self._programs = programs
        self._source = source
        self._patience = Patience(stall_seconds, archive_seconds)

    @property
    def tools(self) -> dict[str, str]:
        return {"pg_basebackup": self._programs.version}

    @contextmanager
    def stream(
        self,
        label: str,
        tablespaces: Sequence[Tablespace] = (),
        *,
        parent_manifest_zst: bytes | None = None,
    ) -> Iterator["RunningBaseBackup | BackupReadAhead"]:
        if parent_manifest_zst is None:
            with replicated(self._source, label, tablespaces, self._patience) as stream:
                yield stream
            return
        if tablespaces:
            raise PostgresCommandFailed("run pg_basebackup: an increment with extra tablespaces")
        words = connection_words(self._source)
        command = [
            str(self._programs.path("pg_basebackup")),
            f"--dbname={conninfo(words)}",
            "--no-password",
            "--pgdata=-",
            "--format=tar",
            # WAL comes from the archive: without it there the backup is not complete anyway.
            "--wal-method=none",
            "--checkpoint=fast",
            f"--label={label}",
            "--incremental=/dev/stdin",
        ]
        with (
            unpacked_manifest(parent_manifest_zst, self._programs.unprivileged) as parent,
            self._running(command, parent) as running,
        ):
            yield running

    @contextmanager
    def _running(self, command: Sequence[str], stdin: IO[bytes]) -> Iterator["RunningBaseBackup"]:
        password = self._source.password
        # In the environment of this one process: an argument could be read by every user.
        env = {"PGPASSWORD": password.reveal()} if password else None
        with self._programs.unprivileged.running(
            command,
            env=self._programs.environment(env),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            yield RunningBaseBackup(process, self._patience)


class RunningBaseBackup:
    """Implements `kb_dr.ports.BaseBackupStream`."""

    def __init__(self, process: "subprocess.Popen[bytes]", patience: Patience) -> None:
        self._output = ProgramOutput("pg_basebackup", process, patience, _failed)
        self._manifest = BackupManifestReader()
        self._tap = MemberTap("backup_manifest", self._manifest.feed)

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes. Raises PostgresUnavailable or WalGap when the server stalls."""
        data = self._output.read(size)
        try:
            self._tap.feed(data)
        except TarDamaged as error:
            raise PostgresCommandFailed(f"run pg_basebackup: {error}") from error
        return data

    def finish(self) -> BaseBackupEnd:
        self._output.require_end()
        try:
            self._tap.finish()
        except TarDamaged as error:
            raise PostgresCommandFailed(f"run pg_basebackup: {error}") from error
        if self._tap.seen != 1:
            raise PostgresCommandFailed(
                f"run pg_basebackup: {self._tap.seen} backup manifests in its tar, expected 1"
            )
        wal, manifest = self._manifest.finish()
        return BaseBackupEnd(wal, self._output.length, self._output.sha256, manifest)


def _failed(name: str, status: int, said: bytes) -> PostgresError:
    failed = command_failed(name, status, said)
    if _NO_SUMMARIES in said:
        return WalSummariesMissing(str(failed))
    failed.hint = "Check that the server still runs, and the role's REPLICATION right."
    return failed
