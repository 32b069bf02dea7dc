"""Take one base backup, full or the increment to a parent: stream, chunks, WAL, manifest last."""

from collections.abc import Callable
from dataclasses import dataclass

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.base_backup import BaseBackupEnd
from kb_dr.domain.increment import NATIVE
from kb_dr.domain.manifest import Manifest, Source, StoredManifest
from kb_dr.errors import PostgresError
from kb_dr.operations.backup_run import (
    BackupRun,
    BackupTools,
    backup_run,
    complete,
    refuse_no_archive,
    refuse_other_tablespaces,
    store_configuration,
    switch_wal,
)
from kb_dr.operations.name_backup import clock_notes, next_backup_id
from kb_dr.operations.refuse_newcomer import refuse_newcomer
from kb_dr.operations.store_stream import ChunkWriter
from kb_dr.operations.watched_stream import WatchedStream, refuse_too_many_chunks
from kb_dr.ports import (
    BaseBackupProgram,
    Clock,
    Codec,
    Progress,
    Repository,
    SourceServer,
)

__all__ = ["BackupTools", "Parent", "take_base_backup", "take_into"]


@dataclass(frozen=True, slots=True)
class Parent:
    """What an increment is made against."""

    stored: StoredManifest
    postgres_manifest_zst: bytes


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
    """Take one full base backup; it exists once this returns, and not a moment before.

    ``backup`` is its id when that was promised already (a Dagster partition); else it is named
    by the clock. A call that fails, or is killed at any point, leaves no manifest: nothing that
    could be taken for a backup. Raises BackupInProgress, SourceLockLost, PostgresError and its
    children, WalGap, ObjectConflict when a backup of this id stands already, WrongRepository when
    it is another living cluster's, RepositoryError.
    """
    with backup_run(
        repository, codec, source, program, clock, progress, tools,
        lambda started: backup or next_backup_id(repository, tools.service, started),
    ) as run:  # fmt: skip
        return take_into(run)


def take_into(
    run: BackupRun,
    parent: Parent | None = None,
    *,
    last_question: Callable[[], None] = lambda: None,
) -> StoredManifest:
    """Take the base backup of a run: full, or the increment to ``parent``.

    ``last_question`` is asked before the manifest is stored; what it raises leaves no backup.
    Raises as take_base_backup() does, and WalSummariesMissing, before anything was stored.
    """
    refuse_no_archive(run)
    described = run.source.describe()
    refuse_newcomer(run.repository, run.backup, described.system_identifier)
    refuse_too_many_chunks(run.backup, described.size_bytes, run.tools.chunk_bytes)
    with _chunk_writer(run) as writer:
        end = _store_base(run, described, parent, writer)
        if parent is not None:
            _refuse_other_line(run, described, end, parent.stored.manifest)
        # The last chunks are still on their way. One that fails is told of when all is looked at.
        run.progress.begin("fingerprint")
        fingerprint, notes = run.source.fingerprint(
            str(run.backup), run.tools.critical_tables, lambda lsn: switch_wal(run, lsn)
        )
        chunks = writer.finish()
    run.lock.check()
    if fingerprint.lsn < end.wal.stop:
        raise PostgresError(
            f"back up {run.backup}: restore point at {fingerprint.lsn}, expected past "
            f"{end.wal.stop}",
            hint="The server was replaced while it was backed up; start the backup again.",
        )
    refuse_other_tablespaces(run, described)
    configuration, unread = store_configuration(run)
    manifest = Manifest(
        schema_version=records.SCHEMA_VERSION,
        id=str(run.backup),
        attempt=run.attempt,
        kind=run.backup.kind,
        engine=NATIVE,
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
        tools=run.versions(),
        host=run.tools.host,
        configuration=configuration,
        parent=None if parent is None else parent.stored.manifest.id,
        parent_digest=None if parent is None else parent.stored.digest,
        notes=(
            *run.notes,
            *clock_notes(run.repository, run.backup, run.started),
            *notes,
            *unread,
        ),
    )
    return complete(run, manifest, last_question)


def _chunk_writer(run: BackupRun) -> ChunkWriter:
    return ChunkWriter(
        run.repository,
        lambda number: layout.chunk_key(run.backup, run.attempt, number),
        run.tools.chunk_bytes,
        run.tools.transfers,
    )


def _store_base(
    run: BackupRun, described: Source, parent: Parent | None, writer: ChunkWriter
) -> BaseBackupEnd:
    """Read all of it, and send it; the last chunks may not stand yet when this returns."""
    if parent is None:
        run.progress.begin("base backup", described.size_bytes)
    else:
        run.progress.begin("incremental backup")  # nobody knows how much has changed
    with run.program.stream(
        str(run.backup),
        described.tablespaces,
        parent_manifest_zst=None if parent is None else parent.postgres_manifest_zst,
    ) as stream:
        run.codec.encode_stream(
            WatchedStream(stream, run.lock.check, run.clock, run.progress), writer
        )
        # The program's end is looked at before the last chunk goes: a stream that broke off
        # is not even stored whole.
        end = stream.finish()
        writer.end()
    run.lock.check()
    return end


def _refuse_other_line(
    run: BackupRun, described: Source, end: BaseBackupEnd, parent: Manifest
) -> None:
    """The server, or its history, was exchanged since the parent was chosen."""
    seen = (described.system_identifier, end.wal.timeline)
    expected = (parent.source.system_identifier, parent.wal.timeline)
    if seen != expected or end.wal.start < parent.wal.stop:
        raise PostgresError(
            f"back up {run.backup}: cluster {seen[0]} on timeline {seen[1]} from {end.wal.start}, "
            f"expected {expected[0]} on timeline {expected[1]} from {parent.wal.stop} on",
            hint="The server was promoted or replaced while it was backed up; start again.",
        )
