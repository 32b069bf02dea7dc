"""Take one full base backup: stream, chunks, WAL, and the manifest last."""

import io
import platform
import secrets
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from kb_dr import __version__, records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.base_backup import BaseBackupEnd, SourceConfiguration
from kb_dr.domain.manifest import Manifest, Source, StoredManifest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import ConfigurationError, PostgresError, WalGap
from kb_dr.operations.await_wal import await_wal
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.listed_wal import require_marker
from kb_dr.operations.name_backup import clock_notes, next_backup_id, refuse_existing
from kb_dr.operations.record_failure import record_failure
from kb_dr.operations.store_stream import DEFAULT_CHUNK_BYTES, ChunkWriter
from kb_dr.ports import (
    BaseBackupProgram,
    Clock,
    Codec,
    Progress,
    Readable,
    Repository,
    SourceLock,
    SourceServer,
)

_LOCK_CHECK_SECONDS = 5.0


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


def take_base_backup(
    repository: Repository,
    codec: Codec,
    source: SourceServer,
    program: BaseBackupProgram,
    clock: Clock,
    progress: Progress,
    tools: BackupTools,
    *,
    backup: BackupId | None = None,
) -> StoredManifest:
    """Take one base backup; it exists once this returns, and not a moment before.

    ``backup`` is its id when that was promised already (a Dagster partition); else it is named
    by the clock. A call that fails, or is killed at any point, leaves no manifest: nothing that
    could be taken for a backup. Raises BackupInProgress, SourceLockLost, PostgresError and its
    children, WalGap, ObjectConflict when a backup of this id stands already, RepositoryError.
    """
    repository.check()
    require_marker(repository)
    with source.exclusive() as lock:
        started = clock.now()
        named = backup or next_backup_id(repository, tools.service, started)
        refuse_existing(repository, named)
        run = _Run(
            repository, codec, source, program, clock, progress, tools, lock, named,
            secrets.token_hex(6), started,
        )  # fmt: skip
        try:
            return _take(run)
        except BaseException as error:
            record_failure(repository, clock, named, run.attempt, tools.host, error)
            raise
        finally:
            progress.end()


@dataclass(frozen=True, slots=True)
class _Run:
    """One attempt at one backup."""

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


def _take(run: _Run) -> StoredManifest:
    _refuse_no_archive(run)
    described = run.source.describe()
    _refuse_too_many_chunks(run, described)
    chunks, end = _store_base(run, described)
    run.progress.begin("fingerprint")
    fingerprint, notes = run.source.fingerprint(str(run.backup), run.tools.critical_tables)
    if fingerprint.lsn < end.wal.stop:
        raise PostgresError(
            f"back up {run.backup}: restore point at {fingerprint.lsn}, expected past "
            f"{end.wal.stop}",
            hint="The server was replaced while it was backed up; start the backup again.",
        )
    _refuse_other_tablespaces(run, described)
    configuration, unread = _store_configuration(run)
    manifest = Manifest(
        schema_version=records.SCHEMA_VERSION,
        id=str(run.backup),
        attempt=run.attempt,
        kind=run.backup.kind,
        engine="native",
        service=run.tools.service,
        org=run.tools.org,
        started=run.started,
        finished=run.started,
        wal=end.wal,
        source=described,
        fingerprint=fingerprint,
        chunks=chunks,
        plain_bytes=end.plain_bytes,
        plain_sha256=end.plain_sha256,
        postgres_manifest=run.repository.put(
            layout.postgres_manifest_key(run.backup, run.attempt), end.postgres_manifest_zst
        ),
        compression="zstd",
        recipients=run.codec.recipients,
        tools={"kb-dr": __version__, "python": platform.python_version(), **run.program.tools},
        host=run.tools.host,
        configuration=configuration,
        notes=(*clock_notes(run.repository, run.backup, run.started), *notes, *unread),
    )
    _complete(run, manifest)
    finished = max(run.clock.now(), run.started)
    return store_manifest(run.repository, replace(manifest, finished=finished))


def _store_base(run: _Run, described: Source) -> tuple[tuple[StoredObject, ...], BaseBackupEnd]:
    run.progress.begin("base backup", described.size_bytes)
    writer = ChunkWriter(
        run.repository,
        lambda number: layout.chunk_key(run.backup, run.attempt, number),
        run.tools.chunk_bytes,
        run.tools.transfers,
    )
    with writer, run.program.stream(str(run.backup), described.tablespaces) as stream:
        run.codec.encode_stream(_Watched(stream, run.lock.check, run.clock, run.progress), writer)
        # The program's end is looked at before the last chunk goes: a stream that broke off
        # is not even stored whole.
        end = stream.finish()
        chunks = writer.finish()
    run.lock.check()
    return chunks, end


def _complete(run: _Run, manifest: Manifest) -> None:
    """Wait for the WAL; the last questions before the backup may exist."""
    run.progress.begin("await WAL")
    reached = run.source.switch_wal()
    if reached < manifest.fingerprint.lsn:
        raise PostgresError(
            f"back up {manifest.id}: WAL switched at {reached}, expected past "
            f"{manifest.fingerprint.lsn}"
        )
    await_wal(
        run.repository,
        manifest,
        run.source,
        run.lock,
        run.clock,
        deadline_seconds=run.tools.wal_deadline_seconds,
    )
    run.lock.check()


def _refuse_no_archive(run: _Run) -> None:
    """Its WAL would never come: a restored server not yet in service, above all."""
    if run.source.archiver().mode == "off" and not run.source.facts().streamed:
        raise WalGap(
            f"back up {run.backup}: the server archives no WAL, archive_mode is off",
            hint="Set archive_mode = on (on a restored server: ALTER SYSTEM RESET archive_mode), "
            "restart it, and start the backup again; or stream: `kb-dr wal stream`.",
        )


def _refuse_other_tablespaces(run: _Run, described: Source) -> None:
    """The WAL this backup needs would create one at its path at the source; see serve_wal."""
    found = run.source.tablespaces()
    if found != described.tablespaces:
        names = sorted(each.name for each in set(found) ^ set(described.tablespaces))
        raise PostgresError(
            f"back up {run.backup}: tablespaces created, dropped or renamed meanwhile: "
            f"{', '.join(names)}",
            hint="Start the backup again.",
        )


def _refuse_too_many_chunks(run: _Run, described: Source) -> None:
    """Before hours are spent on it: what is stored is never much larger than what was read."""
    if described.size_bytes >= layout.MOST_CHUNKS * run.tools.chunk_bytes:
        raise ConfigurationError(
            f"back up {run.backup}: {described.size_bytes} bytes in chunks of "
            f"{run.tools.chunk_bytes}, expected fewer than {layout.MOST_CHUNKS} chunks",
            hint="Raise KB_DR_CHUNK_MIB; it may be 64.",
        )


def _store_configuration(run: _Run) -> tuple[StoredObject | None, tuple[str, ...]]:
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


class _Watched:
    """Passes a stream on; looks at the lock now and then, and says how far it has come."""

    def __init__(
        self, inner: Readable, check: Callable[[], None], clock: Clock, progress: Progress
    ) -> None:
        self._inner = inner
        self._check = check
        self._clock = clock
        self._progress = progress
        self._looked = clock.monotonic()

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(size)
        self._progress.advance(len(data))
        if self._clock.monotonic() - self._looked > _LOCK_CHECK_SECONDS:
            self._check()
            self._looked = self._clock.monotonic()
        return data
