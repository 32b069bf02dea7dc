"""What every backup of the source has in common: lock, name, failure record, WAL, manifest last."""

import io
import platform
import secrets
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from kb_dr import __version__
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.base_backup import SourceConfiguration
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, Source, StoredManifest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import PostgresError, WalGap
from kb_dr.logs import bound
from kb_dr.operations.await_wal import await_wal
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.listed_wal import require_marker
from kb_dr.operations.name_backup import refuse_existing
from kb_dr.operations.record_failure import record_failure
from kb_dr.operations.store_stream import DEFAULT_CHUNK_BYTES
from kb_dr.ports import (
    BaseBackupProgram,
    Clock,
    Codec,
    Progress,
    Repository,
    SourceLock,
    SourceServer,
)


@dataclass(frozen=True, slots=True)
class BackupTools:
    """What a backup is called, what is fingerprinted, and how much is done at once."""

    service: str
    org: str
    host: str
    """The machine that takes it."""
    critical_tables: tuple[str, ...] = ()
    """Empty: every table."""
    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    transfers: int = 4
    """Uploads at once."""
    wal_deadline_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class BackupRun:
    """One attempt at one backup, with the source locked."""

    repository: Repository
    codec: Codec
    source: SourceServer
    program: BaseBackupProgram
    clock: Clock
    progress: Progress
    tools: BackupTools
    lock: SourceLock
    backup: BackupId
    attempt: str
    started: datetime
    notes: tuple[str, ...] = ()
    """What an operator should know of how it came to be this backup."""

    def versions(self) -> dict[str, str]:
        """Program to version, of what takes it."""
        return versions_with(self.program.tools)


def versions_with(tools: dict[str, str]) -> dict[str, str]:
    """Program to version: our own, and these."""
    return {"kb-dr": __version__, "python": platform.python_version(), **tools}


@contextmanager
def backup_run(
    repository: Repository,
    codec: Codec,
    source: SourceServer,
    program: BaseBackupProgram,
    clock: Clock,
    progress: Progress,
    tools: BackupTools,
    name: Callable[[datetime], BackupId],
) -> Iterator[BackupRun]:
    """Lock the source and begin a backup, named by ``name`` once it is locked.

    An error that leaves the block is recorded in the repository. Raises BackupInProgress, and
    ObjectConflict when a backup of this id stands already.
    """
    with begun(repository, clock, progress, tools, source.exclusive, name) as attempt:
        yield BackupRun(
            repository, codec, source, program, clock, progress, tools, attempt.lock,
            attempt.backup, attempt.token, attempt.started,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one backup of any kind, with its lock held."""

    lock: SourceLock
    backup: BackupId
    token: str
    """Random; in the keys of what it stores."""
    started: datetime


@contextmanager
def begun(
    repository: Repository,
    clock: Clock,
    progress: Progress,
    tools: BackupTools,
    exclusive: Callable[[], AbstractContextManager[SourceLock]],
    name: Callable[[datetime], BackupId],
) -> Iterator[Attempt]:
    """Take a lock and begin a backup, as backup_run() does, of whatever kind."""
    repository.check()
    require_marker(repository)
    with exclusive() as lock:
        started = clock.now()
        named = name(started)
        refuse_existing(repository, named)
        attempt = Attempt(lock, named, secrets.token_hex(6), started)
        try:
            with bound(backup_id=str(named)):
                yield attempt
        except BaseException as error:
            record_failure(repository, clock, named, attempt.token, tools.host, error)
            raise
        finally:
            progress.end()


def complete(
    run: BackupRun, manifest: Manifest, last_question: Callable[[], None] = lambda: None
) -> StoredManifest:
    """Wait for the WAL, ask the last questions, and let the backup exist."""
    run.progress.begin("await WAL")
    await_wal(
        run.repository,
        manifest,
        run.source,
        run.lock,
        run.clock,
        deadline_seconds=run.tools.wal_deadline_seconds,
    )
    last_question()
    run.lock.check()
    finished = max(run.clock.now(), run.started)
    return store_manifest(run.repository, replace(manifest, finished=finished))


def switch_wal(run: BackupRun, past: Lsn) -> Lsn:
    """End the segment the restore point is in; the end of what it holds.

    At once when that stands: it is archived while the tables are looked at.
    """
    reached = run.source.switch_wal()
    if reached < past:
        raise PostgresError(
            f"back up {run.backup}: WAL switched at {reached}, expected past {past}"
        )
    return reached


def refuse_no_archive(run: BackupRun) -> None:
    """Its WAL would never come: a restored server not yet in service, above all."""
    if run.source.archiver().mode == "off" and not run.source.facts().streamed:
        raise WalGap(
            f"back up {run.backup}: the server archives no WAL, archive_mode is off",
            hint="Set archive_mode = on (on a restored server: ALTER SYSTEM RESET archive_mode), "
            "restart it, and start the backup again; or stream: `kb-dr wal stream`.",
        )


def refuse_other_tablespaces(run: BackupRun, described: Source) -> None:
    """The WAL this backup needs would create one at its path at the source; see serve_wal."""
    found = run.source.tablespaces()
    if found != described.tablespaces:
        names = sorted(each.name for each in set(found) ^ set(described.tablespaces))
        raise PostgresError(
            f"back up {run.backup}: tablespaces created, dropped or renamed meanwhile: "
            f"{', '.join(names)}",
            hint="Start the backup again.",
        )


def store_configuration(run: BackupRun) -> tuple[StoredObject | None, tuple[str, ...]]:
    """Store the configuration files outside the data directory; with notes for the operator."""
    found = run.source.configuration()
    notes = tuple(f"not backed up: {path}" for path in found.unread)
    if not found.files:
        return None, notes
    # They may hold passwords (ssl_passphrase_command, primary_conninfo): encrypted, never shown.
    body = run.codec.encode(_tar(found))
    return run.repository.put(layout.configuration_key(run.backup, run.attempt), body), notes


def _tar(configuration: SourceConfiguration) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in configuration.files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
