"""pg_basebackup to a pipe: the tar of the cluster, and where its WAL begins and ends."""

import fcntl
import hashlib
import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from kb_dr.adapters.await_backup import Patience
from kb_dr.adapters.backup_manifest import BackupManifestReader, unpacked_manifest
from kb_dr.adapters.postgres_programs import PostgresPrograms, command_failed
from kb_dr.adapters.postgres_session import connection_words, conninfo
from kb_dr.adapters.replication_backup import ReplicationBackup, replicated
from kb_dr.adapters.tar_index import MemberTap, TarDamaged
from kb_dr.domain.base_backup import BaseBackupEnd
from kb_dr.domain.tablespaces import Tablespace
from kb_dr.errors import PostgresCommandFailed, WalSummariesMissing
from kb_dr.settings import SourceSettings

_PIPE_BYTES = 1024 * 1024
_NO_SUMMARIES = b"WAL summar"
"""In every refusal of basebackup_incremental.c that a full backup would not meet: summarization is
off, is not progressing, or its summaries do not reach back to the parent."""

_END_SECONDS = 60.0
"""How long the program may take to end after its output did."""


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
    ) -> Iterator["RunningBaseBackup | ReplicationBackup"]:
        if tablespaces and parent_manifest_zst is not None:
            raise PostgresCommandFailed("run pg_basebackup: an increment with extra tablespaces")
        if tablespaces:
            # pg_basebackup refuses to send more than the data directory to a pipe.
            with replicated(self._source, label, tablespaces, self._patience) as stream:
                yield stream
            return
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
        ]
        if parent_manifest_zst is None:
            with self._running(command) as running:
                yield running
            return
        with (
            unpacked_manifest(parent_manifest_zst, self._programs.unprivileged) as parent,
            self._running([*command, "--incremental=/dev/stdin"], parent) as running,
        ):
            yield running

    @contextmanager
    def _running(
        self, command: Sequence[str], stdin: "IO[bytes] | int" = subprocess.DEVNULL
    ) -> Iterator["RunningBaseBackup"]:
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
        self._process = process
        self._patience = patience
        self._digest = hashlib.sha256()
        self._length = 0
        self._over = False
        self._manifest = BackupManifestReader()
        self._tap = MemberTap("backup_manifest", self._manifest.feed)
        self._said: deque[bytes] = deque(maxlen=20)
        if process.stdout is None or process.stderr is None:
            raise PostgresCommandFailed("run pg_basebackup: it was started without pipes")
        self._output = process.stdout.fileno()
        self._errors = process.stderr
        _widen(self._output)
        # Unread, its messages would fill their pipe and stop it.
        self._listener = threading.Thread(target=self._listen, name="pg_basebackup", daemon=True)
        self._listener.start()

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes. Raises PostgresUnavailable or WalGap when the server stalls."""
        wanted = _PIPE_BYTES if size < 0 else min(size, _PIPE_BYTES)
        if self._over or wanted == 0:
            return b""
        self._patience.await_bytes(self._output, self._said, "run pg_basebackup")
        data = os.read(self._output, wanted)
        if not data:
            self._over = True
            # Its status is looked at before anyone takes this end for the tar's: a stream that
            # broke off must not become a stored backup of the same shape.
            self._check_status()
            return b""
        self._digest.update(data)
        self._length += len(data)
        try:
            self._tap.feed(data)
        except TarDamaged as error:
            raise PostgresCommandFailed(f"run pg_basebackup: {error}") from error
        return data

    def finish(self) -> BaseBackupEnd:
        if not self._over:
            raise PostgresCommandFailed("run pg_basebackup: its output was not read to the end")
        self._check_status()
        try:
            self._tap.finish()
        except TarDamaged as error:
            raise PostgresCommandFailed(f"run pg_basebackup: {error}") from error
        if self._tap.seen != 1:
            raise PostgresCommandFailed(
                f"run pg_basebackup: {self._tap.seen} backup manifests in its tar, expected 1"
            )
        wal, manifest = self._manifest.finish()
        return BaseBackupEnd(wal, self._length, self._digest.hexdigest(), manifest)

    def _check_status(self) -> None:
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise PostgresCommandFailed(
                f"run pg_basebackup: its output ended, but it did not within {_END_SECONDS:g} s"
            ) from error
        if status != 0:
            self._listener.join(_END_SECONDS)
            said = b"\n".join(self._said)
            failed = command_failed("pg_basebackup", status, said)
            if _NO_SUMMARIES in said:
                raise WalSummariesMissing(str(failed))
            failed.hint = "Check that the server still runs, and the role's REPLICATION right."
            raise failed

    def _listen(self) -> None:
        try:
            for line in self._errors:
                self._said.append(line[:2000])
        except ValueError:
            return  # closed while it was read: the program is being ended


def _widen(descriptor: int) -> None:
    """A larger pipe: fewer switches between the two programs. Linux only; else as it is."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError:
            return  # past the limit of an ordinary user
